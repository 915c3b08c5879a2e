#!/bin/sh
# HunyuanVideo 1.5 from a picture takes no height and width: diffusers chooses the size of the video from the picture. The
# choice is not symmetric: a landscape picture of a trained size keeps it, and the same picture on its side is resized.
#
# Seen with diffusers 0.42.1 for the 480p checkpoint (target size 640): 848x480 stays 848x480, and 480x848 becomes 480x832.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 torch==2.13.0 transformers==5.23.0 pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
from diffusers.pipelines.hunyuan_video1_5.image_processor import HunyuanVideo15ImageProcessor

choose = HunyuanVideo15ImageProcessor(vae_scale_factor=16).calculate_default_height_width
found = [choose(height, width, 640)[::-1] for height, width in [(480, 848), (848, 480)]]
assert found == [(848, 480), (480, 832)], found
print("as seen")
PYTHON
