#!/bin/sh
# ffmpeg does not bring ambisonic sound to stereo by itself, and neither does `-ac 2`.
#
# Seen with imageio-ffmpeg 0.6.0 (ffmpeg 7.0.2) and 0.8.1 (ffmpeg 9.0.2):
#   -ac 2                                        fails: "Input channel layout 'ambisonic 1' is not supported"
#   -af channelmap=0|0:channel_layout=stereo     works: the first channel of ambisonic sound is the mono mix
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 0.6.0 0.8.1; do
  python3 -m pip install --quiet --no-deps --target "$folder/$version" "imageio-ffmpeg==$version"
  ffmpeg=$(PYTHONPATH="$folder/$version" python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
  head -c 768000 /dev/zero > "$folder/four-channels.f32"
  input="-v error -y -f f32le -ar 48000 -ch_layout ambisonic+1 -i $folder/four-channels.f32"
  # Each word is an argument, and the layout has a blank in its name.
  set --
  for word in $input; do set -- "$@" "$(echo "$word" | sed 's/ambisonic+1/ambisonic 1/')"; done
  if "$ffmpeg" "$@" -ac 2 "$folder/out.wav" 2> "$folder/errors"; then
    echo "changed: -ac 2 works with imageio-ffmpeg $version"; exit 1
  fi
  grep -q "Input channel layout 'ambisonic 1' is not supported" "$folder/errors"
  "$ffmpeg" "$@" -af 'channelmap=0|0:channel_layout=stereo' "$folder/out.wav"
done
echo "as seen"
