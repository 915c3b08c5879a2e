#!/bin/sh
# The diffusion-forcing pipelines of SkyReels V2 in diffusers add noise to the frames that they continue
# (addnoise_condition, which their documentation sets to 20). The noise does not come from the generator of the call: the
# same seed gives other videos.
#
# Seen with diffusers 0.42.1: two calls with one seed are equal without addnoise_condition, and differ with it; after
# torch.manual_seed, they are equal again.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 torch==2.13.0 transformers==5.23.0 pillow==13.0.0 ftfy==6.3.1
"$folder/venv/bin/python" - <<'PYTHON'
import diffusers
import torch
from PIL import Image

torch.manual_seed(0)
shape = dict(num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=32, freq_dim=32)
transformer = diffusers.SkyReelsV2Transformer3DModel(
    **shape, patch_size=(1, 2, 2), ffn_dim=32, num_layers=1, qk_norm="rms_norm_across_heads", rope_max_seq_len=32
)
vae = diffusers.AutoencoderKLWan(
    base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
)
scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
pipeline = diffusers.SkyReelsV2DiffusionForcingImageToVideoPipeline(
    tokenizer=None, text_encoder=None, transformer=transformer, vae=vae, scheduler=scheduler
)
pipeline.set_progress_bar_config(disable=True)
text = dict(prompt_embeds=torch.randn(1, 8, 32), negative_prompt_embeds=torch.randn(1, 8, 32))
picture = Image.linear_gradient("L").resize((32, 32)).convert("RGB")


def video(noise, seed_of_process=None):
    if seed_of_process is not None:
        torch.manual_seed(seed_of_process)
    generator = torch.Generator().manual_seed(7)
    call = dict(text, image=picture, height=32, width=32, num_frames=9, num_inference_steps=2, generator=generator)
    return pipeline(**call, addnoise_condition=noise, output_type="pt").frames


assert torch.equal(video(0), video(0)), "without noise"
assert not torch.equal(video(20), video(20)), "with noise"
assert torch.equal(video(20, 1), video(20, 1)), "with a seed of the process"
print("as seen")
PYTHON
