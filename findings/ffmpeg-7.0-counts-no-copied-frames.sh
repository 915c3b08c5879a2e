#!/bin/sh
# `ffmpeg -progress` counts the frames of a stream copy only in newer versions: 7.0 reports none at all, so a check of the
# number of frames after a copy needs another source.
#
# Seen for 20 copied frames: imageio-ffmpeg 0.6.0 (ffmpeg 7.0.2)  no line with frame=
#                            imageio-ffmpeg 0.8.1 (ffmpeg 9.0.2)  frame=20
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 0.6.0 0.8.1; do
  python3 -m pip install --quiet --no-deps --target "$folder/$version" "imageio-ffmpeg==$version"
done
exe() { PYTHONPATH="$folder/$1" python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())'; }
"$(exe 0.8.1)" -v error -f lavfi -i testsrc2=d=2:r=10 -c:v libx264 "$folder/clip.mp4"
copied() { "$(exe "$1")" -v error -y -i "$folder/clip.mp4" -c copy -progress - "$folder/copy.mp4" | grep '^frame=' | tail -n 1; }
[ "$(copied 0.6.0 || true)" = "" ] || { echo "changed: 7.0.2 counts $(copied 0.6.0)"; exit 1; }
[ "$(copied 0.8.1)" = "frame=20" ] || { echo "changed: 9.0.2 counts $(copied 0.8.1)"; exit 1; }
echo "as seen"
