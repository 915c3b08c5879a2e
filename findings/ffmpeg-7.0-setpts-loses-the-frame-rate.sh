#!/bin/sh
# In ffmpeg 7.0, the filter `setpts` forgets the frame rate that `fps` before it has set, so `xfade` after it fails. With
# the time filters first and `fps` last, it works in every version.
#
# Seen: imageio-ffmpeg 0.6.0 (ffmpeg 7.0.2)  fps,setpts,xfade: "The inputs needs to be a constant frame rate; current rate
#                                            of 1/0 is invalid"; setpts,fps,xfade works
#       imageio-ffmpeg 0.8.1 (ffmpeg 9.0.2)  both orders work
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 0.6.0 0.8.1; do
  python3 -m pip install --quiet --no-deps --target "$folder/$version" "imageio-ffmpeg==$version"
done
exe() { PYTHONPATH="$folder/$1" python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())'; }
crossfade() {
  "$(exe "$1")" -v error -f lavfi -i testsrc2=d=2:r=10 -f lavfi -i testsrc2=d=2:r=10 \
    -filter_complex "[0:v]$2[a];[1:v]$2[b];[a][b]xfade=duration=0.5:offset=1" -f null -
}
if crossfade 0.6.0 fps=10,setpts=PTS-STARTPTS 2> "$folder/errors"; then echo "changed: 7.0.2 keeps the rate"; exit 1; fi
grep -q "current rate of 1/0 is invalid" "$folder/errors"
crossfade 0.6.0 setpts=PTS-STARTPTS,fps=10
crossfade 0.8.1 fps=10,setpts=PTS-STARTPTS
crossfade 0.8.1 setpts=PTS-STARTPTS,fps=10
echo "as seen"
