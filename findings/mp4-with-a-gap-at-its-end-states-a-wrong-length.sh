#!/bin/sh
# An MP4 with B-frames whose last frame comes after a gap states the length of its frames without the gap. The same frames
# without B-frames state the whole length. Only the time stamps of the packets tell the truth.
#
# Seen for 32 frames, the last two at 9.97 s (a screen recording that writes changes only), with imageio-ffmpeg 0.8.1:
#   libx264          Duration: 00:00:01.03
#   libx264 -bf 0    Duration: 00:00:10.00
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" imageio-ffmpeg==0.8.1
ffmpeg=$(PYTHONPATH="$folder" python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
length() {
  "$ffmpeg" -v error -y -f lavfi -i testsrc2=s=160x90:r=30:d=10 -vf "select='lt(t,1)+gte(t,9.96)'" \
    -fps_mode passthrough -c:v libx264 -pix_fmt yuv420p "$@" "$folder/recording.mp4"
  "$ffmpeg" -i "$folder/recording.mp4" 2>&1 | sed -n 's/.*Duration: \([0-9:.]*\),.*/\1/p'
}
[ "$(length)" = "00:00:01.03" ] || { echo "changed: $(length)"; exit 1; }
[ "$(length -bf 0)" = "00:00:10.00" ] || { echo "changed without B-frames: $(length -bf 0)"; exit 1; }
echo "as seen"
