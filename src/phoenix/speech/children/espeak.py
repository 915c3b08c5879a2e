"""Speaks by the library of eSpeak NG, which says at which place of the text each word begins."""

import ctypes
from importlib.util import find_spec
from typing import Any

from phoenix.speech.children.answers import Times, print_fault, print_words, read_request, timed, words_of, write_wav

_SYNCHRONOUS = 2
_POSITION_IN_CHARACTERS = 1
_UTF8 = 1
_END_OF_EVENTS = 0
_WORD = 1
_OK = 0


class _EspeakEvent(ctypes.Structure):
    class _EventValue(ctypes.Union):
        _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))

    _fields_ = (
        ("kind", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("value", _EventValue),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EspeakEvent))


def main() -> None:
    """Speaks a text, or only looks for the voice if the request has no text."""
    request = read_request()
    try:
        library, data_path = _load()
    except OSError:
        print_fault("this worker has no eSpeak NG: install the package espeak-ng, or the extra espeak of Phoenix")
        return
    rate_hz: int = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path, 0)
    if rate_hz <= 0 or library.espeak_SetVoiceByName(request["voice"].encode()) != _OK:
        print_fault(f"eSpeak NG has no voice {request['voice']!r}; `espeak-ng --voices` lists them")
        return
    if "text" not in request:
        print_words(())
        return
    samples, starts = _speak(library, request["text"])
    write_wav(request["output"], samples, rate_hz=rate_hz)
    print_words(times_of_words(request["text"], starts, len(samples) / 2 / rate_hz))


def _load() -> tuple[Any, bytes | None]:
    """The library, and the folder of its data; None for the folder of the system. Raises `OSError`."""
    if find_spec("espeakng_loader") is not None:
        import espeakng_loader  # noqa: PLC0415  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]

        return ctypes.CDLL(espeakng_loader.get_library_path()), espeakng_loader.get_data_path().encode()
    return ctypes.CDLL("libespeak-ng.so.1"), None


def _speak(library: Any, text: str) -> tuple[bytes, list[tuple[int, float]]]:
    """The samples, and for each spoken word the place of its first letter and its time in seconds."""
    samples = bytearray()
    starts: list[tuple[int, float]] = []

    @_CALLBACK
    def receive(wave: Any, count: int, events: Any) -> int:
        number = 0
        while events[number].kind != _END_OF_EVENTS:
            event = events[number]
            if event.kind == _WORD:
                # Positions are counted from 1.
                starts.append((event.text_position - 1, event.audio_position_ms / 1000))
            number += 1
        if wave and count:
            samples.extend(ctypes.string_at(wave, count * 2))
        return 0

    library.espeak_SetSynthCallback(receive)
    encoded = text.encode()
    size = ctypes.c_size_t(len(encoded) + 1)
    library.espeak_Synth(ctypes.c_char_p(encoded), size, 0, _POSITION_IN_CHARACTERS, 0, _UTF8, None, None)
    return bytes(samples), starts


def times_of_words(text: str, starts: list[tuple[int, float]], duration_s: float) -> list[Times]:
    """The written words with their times. Several spoken words may be one written word: "$5", "U.S.A."."""
    heard: list[tuple[str, float]] = []
    for begin, end, word in words_of(text):
        own = [start_s for position, start_s in starts if begin <= position < end]
        if own or not heard:
            heard.append((word, min(own, default=0.0)))
        else:
            # What is not spoken, such as a dash, belongs to the word before it.
            heard[-1] = (f"{heard[-1][0]} {word}", heard[-1][1])
    nexts_s = [start_s for _, start_s in heard[1:]] + [duration_s]
    return [timed(word, start_s, max(start_s, next_s)) for (word, start_s), next_s in zip(heard, nexts_s, strict=True)]
