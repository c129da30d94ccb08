"""Speech: acoustic scores (CTC) and a language model decoded together."""
