"""The settings of every tiny model of the zoo: one function per architecture, from a number of layers to arguments.

Sizes are the smallest at which every part of the architecture still does something: windows shorter than the input,
more experts than are chosen, fewer key heads than query heads, biases where the family allows them.
"""

from __future__ import annotations

from typing import Any

VOCABULARY = 80
IMAGE_TOKEN = 77
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
DECODER = {**SIZES, **SPECIAL, "vocab_size": VOCABULARY, "num_key_value_heads": 2, "max_position_embeddings": 64}
ENCODER = {**SIZES, "vocab_size": VOCABULARY, "max_position_embeddings": 40, "pad_token_id": 0}
WINDOW = 3
"""Sliding window: shorter than the input, so that a layer of the wrong type changes the logits."""

Settings = dict[str, Any]


def decoder(layers: int, **more: Any) -> Settings:
    """A plain Llama-shaped decoder."""
    return {**DECODER, "num_hidden_layers": layers, **more}


def llama_biased(layers: int) -> Settings:
    return decoder(layers, attention_bias=True, mlp_bias=True)


def mistral(layers: int) -> Settings:
    return decoder(layers, sliding_window=WINDOW, head_dim=8)


def qwen2(layers: int) -> Settings:
    """Tied, and windowed from the second layer on, so that `layer_types` is not constant."""
    return decoder(
        layers, tie_word_embeddings=True, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    )


def qwen3(layers: int) -> Settings:
    return {**qwen2(layers), "head_dim": 8}


def gemma2(layers: int) -> Settings:
    return decoder(layers, head_dim=8, query_pre_attn_scalar=8, sliding_window=WINDOW)


def gemma3_text(layers: int) -> Settings:
    types = ["full_attention" if i % 3 == 2 else "sliding_attention" for i in range(layers)]
    return decoder(layers, head_dim=8, query_pre_attn_scalar=8, sliding_window=WINDOW, layer_types=types)


def gemma3(layers: int) -> Settings:
    vision = {**SIZES, "num_hidden_layers": 2, "image_size": 16, "patch_size": 4, "model_type": "siglip_vision_model"}
    tokens = {"image_token_index": IMAGE_TOKEN, "boi_token_index": 78, "eoi_token_index": 79}
    return {"text_config": gemma3_text(layers), "vision_config": vision, "mm_tokens_per_image": 4, **tokens}


def phi3(layers: int) -> Settings:
    return decoder(layers, original_max_position_embeddings=64)


def cohere2(layers: int) -> Settings:
    types = ["full_attention" if i % 2 else "sliding_attention" for i in range(layers)]
    return decoder(layers, sliding_window=WINDOW, layer_types=types, logit_scale=1.0)


def gpt2(layers: int) -> Settings:
    return {"vocab_size": VOCABULARY, "n_positions": 40, "n_embd": 32, "n_layer": layers, "n_head": 4, **SPECIAL}


def gpt_neox(layers: int) -> Settings:
    return {**SIZES, **SPECIAL, "vocab_size": VOCABULARY, "num_hidden_layers": layers, "max_position_embeddings": 64}


def falcon_7b(layers: int) -> Settings:
    """One key head for all queries, attention and feed-forward side by side, one norm for both."""
    flags = {"multi_query": True, "parallel_attn": True, "new_decoder_architecture": False, "bias": False}
    return {**falcon_sizes(layers), **flags}


def falcon_40b(layers: int) -> Settings:
    """Grouped key heads, two norms in each layer."""
    return {**falcon_sizes(layers), "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True}


def falcon_sizes(layers: int) -> Settings:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
    return {**sizes, **SPECIAL, "num_hidden_layers": layers}


def bert(layers: int) -> Settings:
    return {**ENCODER, "num_hidden_layers": layers, "num_labels": 3}


def roberta(layers: int) -> Settings:
    return {**bert(layers), "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}


def distilbert(layers: int) -> Settings:
    sizes = {"dim": 32, "hidden_dim": 48, "n_heads": 4, "n_layers": layers}
    return {**sizes, "vocab_size": VOCABULARY, "max_position_embeddings": 40}


def modernbert(layers: int) -> Settings:
    ids = {**SPECIAL, "cls_token_id": 1, "sep_token_id": 2}
    biases = {"attention_bias": True, "mlp_bias": True, "norm_bias": True}
    shape = {"num_hidden_layers": layers, "local_attention": 4, "vocab_size": VOCABULARY, "max_position_embeddings": 64}
    return {**SIZES, **ids, **biases, **shape}


def t5(layers: int) -> Settings:
    """Version 1.0: plain ReLU feed-forward, one embedding for input, output and head."""
    sizes = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 4, "num_layers": layers}
    buckets = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 16}
    return {**sizes, **buckets, "num_decoder_layers": 3, "decoder_start_token_id": 0}


def t5_gated(layers: int) -> Settings:
    """Version 1.1: gated feed-forward and unscaled outputs."""
    return {**t5(layers), "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


def vit(layers: int) -> Settings:
    return {**SIZES, "num_hidden_layers": layers, "image_size": 16, "patch_size": 8, "num_labels": 3}


def clip_vision(layers: int) -> Settings:
    return {**SIZES, "num_hidden_layers": layers, "image_size": 16, "patch_size": 8, "projection_dim": 24}


def clip(layers: int) -> Settings:
    text = {**SIZES, **SPECIAL, "vocab_size": VOCABULARY, "max_position_embeddings": 40, "num_hidden_layers": 3}
    return {"text_config": text, "vision_config": clip_vision(layers), "projection_dim": 24}


def llava(layers: int) -> Settings:
    """A CLIP tower read at its last layer, a two-layer projector and a Llama."""
    text = {**decoder(layers), "model_type": "llama"}
    vision = {**clip_vision(2), "model_type": "clip_vision_model"}
    image = {"image_token_index": IMAGE_TOKEN, "image_seq_length": 4, "vision_feature_layer": -1}
    return {"text_config": text, "vision_config": vision, **image}


def qwen_vl(layers: int, vision: Settings) -> Settings:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    frame = {
        "vision_start_token_id": 75,
        "vision_end_token_id": 76,
        "image_token_id": IMAGE_TOKEN,
        "video_token_id": 78,
    }
    return {"text_config": decoder(layers, rope_parameters=rope), "vision_config": vision, **frame}


def qwen2_vl(layers: int) -> Settings:
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2}
    return qwen_vl(layers, vision)


def qwen2_5_vl(layers: int) -> Settings:
    vision = {"depth": 2, "hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 24, "num_heads": 2}
    return qwen_vl(layers, {**vision, "patch_size": 4, "window_size": 16, "fullatt_block_indexes": [1]})


def whisper(layers: int) -> Settings:
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    sizes = {"d_model": 32, "encoder_layers": layers, "decoder_layers": 3, "num_mel_bins": 8, "vocab_size": VOCABULARY}
    tokens = {**SPECIAL, "decoder_start_token_id": 1, "suppress_tokens": None, "begin_suppress_tokens": None}
    return {**heads, **sizes, **tokens, "max_source_positions": 12, "max_target_positions": 24}


def wav2vec2(layers: int) -> Settings:
    convolutions = {"conv_dim": (16, 16), "conv_kernel": (6, 3), "conv_stride": (4, 2)}
    position = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    return {**SIZES, **convolutions, **position, "num_hidden_layers": layers, "vocab_size": 32}


def mixtral(layers: int) -> Settings:
    return decoder(layers, num_local_experts=4, num_experts_per_tok=2)


def qwen3_moe(layers: int) -> Settings:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "norm_topk_prob": True}
    return decoder(layers, head_dim=8, **experts)


def deepseek_v3(layers: int) -> Settings:
    """Compressed attention, one dense layer, then experts with a shared one and a bias that steers the routing."""
    ranks = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 2, "topk_group": 1}
    heads = {"num_key_value_heads": 4, "moe_intermediate_size": 16, "first_k_dense_replace": 1, "num_mtp_layers": 0}
    return decoder(layers, **ranks, **experts, **heads)


def gpt_oss(layers: int) -> Settings:
    return decoder(layers, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=WINDOW)
