#!/bin/sh
# The filter `minterpolate` makes no frame after the last but one of its input, and none at all of one or two frames. Both
# without an error: the picture is shorter than its sound. Three copies of the last frame before the filter, and a cut after
# it, give every frame.
#
# Seen with imageio-ffmpeg 0.6.0 (ffmpeg 7.0.2) and 0.8.1 (ffmpeg 9.0.2), from 10 to 20 frames per second:
#   frames in        1  2  3   12
#   frames out       0  0  3   21
#   with tpad first  2  4  6   24
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
made() {
  "$ffmpeg" -v error -f lavfi -i testsrc2=s=64x64:r=10 -vf "trim=end_frame=$1,$2" -progress - -f null - 2> "$folder/errors" |
    grep '^frame=' | tail -n 1
}
for version in 0.6.0 0.8.1; do
  python3 -m pip install --quiet --no-deps --target "$folder/$version" "imageio-ffmpeg==$version"
  ffmpeg=$(PYTHONPATH="$folder/$version" python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
  for pair in 1:0 2:0 3:3 12:21; do
    count=${pair%:*}
    found=$(made "$count" minterpolate=fps=20)
    [ "$found" = "frame=${pair#*:}" ] || { echo "changed: $version makes $found of $count frames"; exit 1; }
    found=$(made "$count" "tpad=stop=3:stop_mode=clone,minterpolate=fps=20,trim=end_frame=$((2 * count))")
    [ "$found" = "frame=$((2 * count))" ] || { echo "changed: $version makes $found of $count padded frames"; exit 1; }
  done
done
echo "as seen"
