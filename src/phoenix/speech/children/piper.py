"""Speaks by Piper, sentence by sentence. The times of its sentences are exact."""

import re
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from phoenix.speech.children.answers import Times, print_fault, print_words, read_request, spread, timed, write_wav

_SENTENCE = re.compile(r".+?(?:[.!?\u2026]+(?=\s|$)|$)", re.DOTALL)
_SILENT = frozenset("^$_.,!?;:")
_PAUSE_S = 0.2
"""Of silence between two sentences."""


class _VoiceMissing(Exception):
    """Piper or its voice cannot be used here. The text says why."""


def main() -> None:
    request = read_request()
    # The model is changed in memory to say how long each sound is, which needs the package onnx.
    has_times = find_spec("onnx") is not None
    try:
        voice = _load(Path(request["voice"]), has_times=has_times)
    except _VoiceMissing as missing:
        print_fault(str(missing))
        return
    rate_hz: int = voice.config.sample_rate
    samples = bytearray()
    words: list[Times] = []
    for sentence in split_sentences(request["text"]):
        samples += bytes(2 * round(_PAUSE_S * rate_hz)) if samples else b""
        start = len(samples) // 2
        groups: list[tuple[int, int]] = []
        for chunk in voice.synthesize(without_marks(sentence), include_alignments=has_times):
            groups += group_sounds(chunk.phoneme_alignments or (), len(samples) // 2)
            samples += chunk.audio_int16_bytes
        words += times_of_sentence(sentence.split(), groups, (start, len(samples) // 2), rate_hz)
    if not samples:
        # Of a text without any sound, such as "...", too.
        samples = bytearray(2 * round(_PAUSE_S * rate_hz))
        words = spread(request["text"].split(), 0, _PAUSE_S)
    write_wav(request["output"], bytes(samples), rate_hz=rate_hz)
    print_words(words)


def _load(path: Path, *, has_times: bool) -> Any:
    """The voice. Raises `_VoiceMissing`."""
    if find_spec("piper") is None:
        raise _VoiceMissing("this worker has no Piper: run `pip install piper-tts`")
    if not path.is_file():
        raise _VoiceMissing("this worker has no such voice of Piper: see PHOENIX_TTS__VOICES_DIR")
    try:
        return import_module("piper").PiperVoice.load(str(path), include_alignments=has_times)
    except Exception as error:
        found = f"{path.name} with {path.name}.json ({type(error).__name__})"
        raise _VoiceMissing(f"Piper cannot load {found}: copy both files of the voice again") from error


def split_sentences(text: str) -> list[str]:
    return [sentence for found in _SENTENCE.finditer(text) if (sentence := " ".join(found[0].split()))]


def without_marks(sentence: str) -> str:
    """The sentence without the marks between which Piper takes sounds in place of words."""
    return sentence.replace("[[", "(").replace("]]", ")")


def group_sounds(alignments: Sequence[Any], start: int) -> list[tuple[int, int]]:
    """First and last sample of each group of sounds between two spaces."""
    groups: list[tuple[int, int]] = []
    at, first, last = start, None, start
    for alignment in alignments:
        end = at + int(alignment.num_samples)
        if alignment.phoneme == " ":
            groups += [] if first is None else [(first, last)]
            first = None
        elif alignment.phoneme not in _SILENT:
            first, last = at if first is None else first, end
        at = end
    return groups if first is None else [*groups, (first, last)]


def times_of_sentence(
    words: Sequence[str], groups: Sequence[tuple[int, int]], span: tuple[int, int], rate_hz: int
) -> list[Times]:
    """The words with their times. A group of sounds is not always a word: "$5" is two, and "in the" may be one."""
    if len(groups) != len(words):
        return spread(words, span[0] / rate_hz, span[1] / rate_hz)
    pairs = zip(words, groups, strict=True)
    return [timed(word, first / rate_hz, last / rate_hz) for word, (first, last) in pairs]
