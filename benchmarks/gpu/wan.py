"""Wan with random weights, in two sizes, saved as a folder: the speed of a network does not depend on what it knows."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import BatchRule
from phoenix.engine.device import release_memory

FULL_TRANSFORMER: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
}
"""Wan 2.1 1.3B: 1.419 billion parameters."""

SMALL_TRANSFORMER = FULL_TRANSFORMER | {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "text_dim": 64,
    "ffn_dim": 512,
    "num_layers": 4,
    "rope_max_seq_len": 64,
}
SMALL_VAE: dict[str, Any] = {
    "base_dim": 8,
    "z_dim": 16,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
    "scale_factor_spatial": 16,
}
"""Of Wan 2.2's kind, which decodes at half the side: that of 2.1 takes nine tenths of a small clip's time on a CPU."""


def save_wan(folder: Path, *, is_full: bool, device: str) -> Path:
    """Builds on the device, so that a full model takes seconds, and saves it for all to load. Holds none of it."""
    _build(is_full=is_full, device=device).save_pretrained(folder)
    release_memory()
    return folder


def wan_spec(folder: Path, *, is_full: bool) -> ModelSpec:
    """The catalog entry of that folder."""
    return (
        load_catalog()
        .get("wan-2.1-t2v-1.3b")
        .model_copy(
            update={
                "id": "wan-random",
                "source": str(folder),
                "dtype": "bfloat16" if is_full else "float32",
                "options": {"vae_dtype": "float32", "max_sequence_length": 512 if is_full else 64},
                "batch": BatchRule(token_px=16, token_frames=4, max_tokens=1_000_000),
            }
        )
    )


def _build(*, is_full: bool, device: str) -> WanPipeline:
    torch.manual_seed(0)
    dtype = torch.bfloat16 if is_full else torch.float32
    transformer = FULL_TRANSFORMER if is_full else SMALL_TRANSFORMER
    tokenizer = _tokenizer()
    with torch.device(device):
        parts = {
            "transformer": _filled(WanTransformer3DModel(**transformer)).to(dtype),
            "vae": _with_detail(_filled(AutoencoderKLWan() if is_full else AutoencoderKLWan(**SMALL_VAE))),
            "text_encoder": _filled(_text_encoder(transformer["text_dim"], len(tokenizer))).to(dtype),
        }
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return WanPipeline(tokenizer=tokenizer, scheduler=scheduler, **parts)


def _text_encoder(width: int, vocabulary: int) -> UMT5EncoderModel:
    """One layer of the right width: the eleven gigabytes of UMT5-XXL run once per clip, and show nothing here."""
    return UMT5EncoderModel(
        UMT5Config(vocab_size=vocabulary, d_model=width, d_kv=8, d_ff=64, num_layers=1, num_heads=4, dropout_rate=0.0)
    )


def _tokenizer() -> T5TokenizerFast:
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    vocabulary += [(chr(code), -8.0) for code in range(33, 127)]
    return T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=512)


def _filled(module: torch.nn.Module) -> Any:
    """Small random weights, so that thirty layers of them stay finite."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.02)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return module.eval().requires_grad_(False)


def _with_detail(vae: Any) -> Any:
    """Weights that hand on what they are given: the frames are noise then, and no grey that costs no time to encode."""
    with torch.no_grad():
        for parameter in vae.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
    return vae
