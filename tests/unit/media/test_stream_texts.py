"""The codec and the layout of a stream, as read from what ffmpeg says of it."""

from phoenix.media.probe_child.codecs import StatedStream, parse_streams

TEXT = """Input #0, mov,mp4,m4a,3gp,3g2,mj2, from '':
  Metadata:
    title           : Stream #0:0: Audio: none, 1 Hz, 99 channels (X)
  Duration: 00:00:01.00, start: 0.000000, bitrate: 180 kb/s
  Stream #0:0[0x1](und): Video: none (zzzz / 0x7A7A7A7A), none, 128x72, 91 kb/s, 16 fps (default)
  Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, mono, fltp, 70 kb/s (default)
  Stream #0:2: Audio: none (4[18][0][0] / 0x1234), 44100 Hz, 1 channels, 705 kb/s
  Stream #0:3: Audio: pcm_s16le (lpcm / 0x6D63706C), 48000 Hz, 4 channels (TFL+TFR+BL+BR), s16, 3072 kb/s
  Stream #0:4: Audio: opus, 48000 Hz, ambisonic 1, fltp
  Stream #0:5: Data: none
"""


def test_each_stream_has_its_codec_its_tag_and_its_layout() -> None:
    assert parse_streams(TEXT) == {
        0: StatedStream("none", "zzzz"),
        1: StatedStream("aac", "mp4a", "mono"),
        2: StatedStream("none", "0x1234", "1 channels"),
        3: StatedStream("pcm_s16le", "lpcm", "4 channels (TFL+TFR+BL+BR)"),
        4: StatedStream("opus", "", "ambisonic 1"),
        5: StatedStream(),
    }
