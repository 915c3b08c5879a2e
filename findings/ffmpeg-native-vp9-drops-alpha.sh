#!/bin/sh
# ffmpeg decodes VP9 with alpha as opaque: its own decoder, the default, drops the alpha channel without a word. Only the
# decoder libvpx-vp9 returns it. Hidden colours then show.
#
# Seen with imageio-ffmpeg 0.8.1 (ffmpeg 9.0.2), for one file:
#   default                yuv420p
#   -c:v libvpx-vp9        yuva420p
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" imageio-ffmpeg==0.8.1
ffmpeg=$(PYTHONPATH="$folder" python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
"$ffmpeg" -v error -f lavfi -i color=red@0.0:s=64x64:d=0.2,format=yuva420p -c:v libvpx-vp9 -pix_fmt yuva420p "$folder/a.webm"
format() { "$ffmpeg" "$@" -i "$folder/a.webm" -f null - 2>&1 | sed -n 's/.*Stream.*Video: vp9.* \(yuva\{0,1\}420p\)(.*/\1/p' | head -n 1; }
[ "$(format)" = "yuv420p" ] || { echo "changed: the default gives $(format)"; exit 1; }
[ "$(format -c:v libvpx-vp9)" = "yuva420p" ] || { echo "changed: libvpx gives $(format -c:v libvpx-vp9)"; exit 1; }
echo "as seen"
