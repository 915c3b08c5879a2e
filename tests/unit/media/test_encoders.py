"""Which H.264 encoder a process takes, why, and with what command. No machine of the tests has NVENC."""

import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from phoenix.errors import Stage
from phoenix.media.commands import video
from phoenix.media.commands.h264 import NVENC_PRESETS, Encoding, encoder_of
from phoenix.media.commands.video import Picture
from phoenix.media.encoders import EncoderChoice, EncoderUnusable, choose_encoder, decide_encoder, open_tools
from phoenix.media.errors import explain_exit
from phoenix.media.ffmpeg import MediaTools
from phoenix.settings import MediaSettings
from phoenix.settings.value_types import Preset

OUT = Path("out.mp4")
PICTURE = Picture(1280, 720, Fraction(24))
NVENC = Encoding(preset="slow", crf=23, encoder="h264_nvenc", gpu=1)


def options(command: list[str]) -> dict[str, str]:
    return {name: value for name, value in pairwise(command) if name.startswith("-")}


def test_nvenc_gets_the_settings_in_its_own_terms():
    found = options(video.encode_frames(PICTURE, NVENC, OUT))
    expected = {"-c:v": "h264_nvenc", "-preset": "p5", "-rc": "vbr", "-cq": "23", "-b:v": "0", "-gpu": "1"}
    assert expected.items() <= found.items()
    assert found.keys().isdisjoint({"-crf", "-threads"})


def test_both_encoders_get_the_same_colours_and_the_same_container():
    commands = [video.encode_frames(PICTURE, encoding, OUT) for encoding in (Encoding(), NVENC)]
    software, card = map(options, commands)
    for name in ("-filter_complex", "-pix_fmt", "-movflags", "-fflags", "-flags:v", "-map_metadata", "-f"):
        assert software[name] == card[name]
    assert "bt709" in software["-filter_complex"]


def test_parts_of_a_reel_that_are_encoded_again_use_the_encoder_too():
    segment = video.Segment(video.SourceStream(Path("a.mp4")), 0, 8)
    assert options(video.join_segments([segment], [], PICTURE, NVENC, OUT))["-c:v"] == "h264_nvenc"


@pytest.mark.parametrize("size", [(64, 48), (254, 720), (1280, 144), (4098, 2160)])
def test_a_size_that_a_card_may_refuse_is_encoded_by_software(size):
    found = options(video.encode_frames(Picture(*size, Fraction(24)), NVENC, OUT))
    assert (found["-c:v"], found["-preset"], found["-crf"]) == ("libx264", "slow", "23")


@pytest.mark.parametrize("size", [(256, 256), (1080, 1920), (4096, 4096)])
def test_the_sizes_of_clips_are_encoded_by_the_card(size):
    assert encoder_of(NVENC, *size) == "h264_nvenc"


def test_each_preset_of_x264_stands_for_a_preset_of_nvenc_in_the_same_order():
    assert tuple(NVENC_PRESETS) == Preset.__args__
    assert list(NVENC_PRESETS.values()) == sorted(NVENC_PRESETS.values())


@pytest.mark.parametrize(
    ("encoder", "refusal", "crf", "expected"),
    [
        ("auto", None, 20, EncoderChoice("h264_nvenc", "a trial with NVENC succeeded")),
        ("nvenc", None, 20, EncoderChoice("h264_nvenc", "a trial with NVENC succeeded")),
        ("auto", "no card", 20, EncoderChoice("libx264", "NVENC does not work here: no card")),
        ("nvenc", "no card", 20, "PHOENIX_MEDIA__ENCODER is nvenc, and NVENC does not work here: no card"),
        ("nvenc", None, 0, "PHOENIX_MEDIA__CRF=0 is lossless, which NVENC is not"),
    ],
)
def test_the_trial_decides_and_a_demand_that_cannot_be_met_is_refused(encoder, refusal, crf, expected):
    settings = MediaSettings(encoder=encoder, crf=crf)
    if isinstance(expected, str):
        with pytest.raises(EncoderUnusable, match=expected):
            decide_encoder(settings, refusal)
    else:
        assert decide_encoder(settings, refusal) == expected


def test_a_lossless_encoding_is_left_to_software_where_the_choice_is_free():
    assert decide_encoder(MediaSettings(encoder="auto", crf=0), None).encoder == "libx264"


_CARD = """#!{python}
import os, sys
arguments = sys.argv[1:]
with open({noted!r}, "a") as file:
    file.write(" ".join(arguments) + "\\n")
for name in ("-rc", "-cq", "-b:v", "-profile:v", "-gpu", "-preset"):
    if name in arguments:
        at = arguments.index(name)
        del arguments[at : at + 2]
os.execv({ffmpeg!r}, ["ffmpeg", *("libx264" if each == "h264_nvenc" else each for each in arguments)])
"""


def ffmpeg_of_a_card(folder: Path, media_tools: MediaTools) -> Path:
    """An ffmpeg that encodes by libx264 what it is asked to encode by NVENC. Notes its arguments."""
    program = folder / "ffmpeg"
    noted = str(folder / "arguments")
    program.write_text(_CARD.format(python=sys.executable, noted=noted, ffmpeg=media_tools.ffmpeg))
    program.chmod(0o755)
    return program


def test_software_is_the_default_and_needs_no_trial(media_tools: MediaTools):
    tools, choice = choose_encoder(MediaSettings())
    assert (tools, choice.encoder) == (media_tools, "libx264")


def test_an_ffmpeg_that_lists_nvenc_without_a_card_does_not_get_it(media_tools: MediaTools):
    tools, choice = choose_encoder(MediaSettings(encoder="auto", ffmpeg=media_tools.ffmpeg))
    assert tools.encoding == Encoding()
    assert choice.encoder == "libx264"
    assert choice.reason.startswith("NVENC does not work here: ")


def test_nvenc_is_refused_with_the_reason_of_the_encoder(media_tools: MediaTools):
    with pytest.raises(EncoderUnusable, match=r"NVENC does not work here: .*(libcuda|nvenc|encoder)"):
        open_tools(MediaSettings(encoder="nvenc", ffmpeg=media_tools.ffmpeg))


_WITHOUT_NVENC = """#!/bin/sh
case "$*" in
*h264_nvenc*) echo "Unrecognized option 'cq'." >&2; exit 8 ;;
*) exec {ffmpeg} "$@" ;;
esac
"""


def test_an_ffmpeg_that_was_built_without_nvenc_is_the_reason(tmp_path: Path, media_tools: MediaTools):
    program = tmp_path / "ffmpeg"
    program.write_text(_WITHOUT_NVENC.format(ffmpeg=media_tools.ffmpeg))
    program.chmod(0o755)
    _, choice = choose_encoder(MediaSettings(encoder="auto", ffmpeg=str(program)))
    assert "this ffmpeg has no encoder h264_nvenc" in choice.reason


@pytest.mark.parametrize(("device", "gpu"), [("cuda:1", 1), ("cuda:0", 0), ("cpu", None)])
def test_a_worker_encodes_on_its_own_card(tmp_path, media_tools, device, gpu):
    program = ffmpeg_of_a_card(tmp_path, media_tools)
    tools = open_tools(MediaSettings(encoder="auto", ffmpeg=str(program)), device=device)
    assert tools.encoding == Encoding(encoder="h264_nvenc", gpu=gpu)
    tried = (tmp_path / "arguments").read_text()
    assert "h264_nvenc" in tried
    assert (f"-gpu {gpu}" in tried) is (gpu is not None)


def test_the_trial_is_made_once_per_process(tmp_path, media_tools):
    settings = MediaSettings(encoder="nvenc", ffmpeg=str(ffmpeg_of_a_card(tmp_path, media_tools)))
    for _ in range(3):
        open_tools(settings)
    assert len((tmp_path / "arguments").read_text().splitlines()) == 1


def test_the_failure_of_a_clip_names_what_the_card_lacks():
    stderr = (
        "[h264_nvenc @ 0x55f0] OpenEncodeSessionEx failed: incompatible client key (21): (no details)\n"
        "[vost#0:0/h264_nvenc @ 0x55f1] Error while opening encoder\nConversion failed!\n"
    )
    failed = explain_exit(1, stderr, Stage.ENCODE)
    assert failed.detail.startswith(
        "the encoder h264_nvenc failed: OpenEncodeSessionEx failed: incompatible client key"
    )
    assert failed.retriable
