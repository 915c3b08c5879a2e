#!/bin/sh
# EasyAnimateControlPipeline of diffusers fails in each call, with every checkpoint: it gives `text_encoder_index` to its
# own encode_prompt, which has no such argument. The other two classes of EasyAnimate do not.
#
# Seen with diffusers 0.42.1: "TypeError: EasyAnimateControlPipeline.encode_prompt() got an unexpected keyword argument
# 'text_encoder_index'".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 torch==2.13.0 transformers==5.23.0 pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
from types import SimpleNamespace

import torch
from diffusers import EasyAnimateControlPipeline


class Alone(EasyAnimateControlPipeline):
    """What a call reads before it encodes its prompt needs no weights."""

    _execution_device = "cpu"
    text_encoder = SimpleNamespace(dtype=torch.float32)

    def __init__(self):
        pass

    def check_inputs(self, *arguments):
        pass


try:
    Alone()("a boat", control_video=torch.zeros(1, 3, 9, 32, 32))
except TypeError as error:
    assert "unexpected keyword argument 'text_encoder_index'" in str(error), error
else:
    raise AssertionError("the call did not fail")
print("as seen")
PYTHON
