"""LoRA algebra: adapters looked at, merged as adapters, and extracted from fine-tuned models."""
