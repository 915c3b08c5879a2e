#!/bin/sh
# `enable_parallelism` of diffusers fails on a machine without an accelerator, although its context parallelism itself
# works there with gloo: it takes the rank modulo `torch.accelerator.device_count()`, which is 0 for a CPU.
#
# Seen with diffusers 0.42.1 and torch 2.13.0: "ZeroDivisionError: integer modulo by zero". With an accelerator, nothing
# is wrong; without one, pass a mesh and set the parts of the configuration by hand.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 torch==2.13.0 transformers==5.23.0
CUDA_VISIBLE_DEVICES= "$folder/venv/bin/python" - "$folder/store" <<'PYTHON'
import sys

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig, WanTransformer3DModel

dist.init_process_group("gloo", store=dist.FileStore(sys.argv[1], 1), rank=0, world_size=1)
model = WanTransformer3DModel(
    num_attention_heads=2, attention_head_dim=12, text_dim=8, freq_dim=8, ffn_dim=8, num_layers=1
)
assert torch.accelerator.device_count() == 0
try:
    model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=2))
except ZeroDivisionError:
    print("as seen")
else:
    raise AssertionError("it did not fail")
PYTHON
