"""What calls with shared weights may not do at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from fixtures.tiny_pipelines import tiny_spec
from phoenix.engine.backends.diffusers.loading import load_pipeline
from phoenix.engine.backends.diffusers.tokenizing import guard_tokenizers
from phoenix.engine.stop_token import StopToken

LONG_ENOUGH_S = 0.1
"""How long a call stays, so that a second thread could enter."""


@dataclass(frozen=True)
class Reading:
    """A tokenizer with its component, and one way to read a text of a given length with it."""

    components: dict[str, Any]
    tokenizer: Any
    read: Callable[[int], int]


def t5_tokenizer() -> Any:
    from fixtures import tiny_builders  # noqa: PLC0415 (diffusers takes seconds that other tests do not need)

    return tiny_builders.t5_tokenizer()


def of_its_own(name: str) -> Reading:
    tokenizer = t5_tokenizer()
    return Reading({name: tokenizer}, tokenizer, lambda length: len(read_padded(tokenizer, length)))


def in_a_processor() -> Reading:
    import transformers  # noqa: PLC0415

    tokenizer = t5_tokenizer()
    pictures = transformers.CLIPImageProcessor(crop_size=32, size=32)
    # The class of the tokenizer is checked by the class of the processor, and any fast tokenizer will do.
    processor = transformers.CLIPProcessor(pictures, tokenizer)
    return Reading({"tokenizer": processor}, tokenizer, lambda length: len(read_padded(tokenizer, length)))


def by_counting() -> Reading:
    tokenizer = t5_tokenizer()
    options = {"padding": "max_length", "truncation": True}
    return Reading(
        {"tokenizer": tokenizer},
        tokenizer,
        lambda length: len(tokenizer.encode("a red fox", max_length=length, **options)),
    )


@pytest.mark.parametrize(
    "make",
    [partial(of_its_own, "tokenizer"), partial(of_its_own, "text_tokenizer"), in_a_processor, by_counting],
)
def test_a_tokenizer_reads_for_one_call_at_a_time(make, monkeypatch):
    """Whatever its name: a caller that asks for 40 tokens would get the 20 of another, without an error."""
    reading = make()
    guard_tokenizers(reading.components)
    plain = type(reading.tokenizer).__mro__[1]
    encode, inside, met = vars(plain_owner(plain))["_encode_plus"], [], threading.Event()

    def encode_while_others_do(self: Any, *args: Any, **kwargs: Any) -> Any:
        inside.append(1)
        if len(inside) > 1:
            met.set()
        met.wait(LONG_ENOUGH_S)
        try:
            return encode(self, *args, **kwargs)
        finally:
            inside.pop()

    monkeypatch.setattr(plain, "_encode_plus", encode_while_others_do)
    with ThreadPoolExecutor(2) as pool:
        lengths = pool.map(reading.read, [20, 40])
    assert list(lengths) == [20, 40]
    assert not met.is_set()


def plain_owner(kind: type) -> type:
    """The class that every way to read a text goes through in the end."""
    return next(owner for owner in kind.__mro__ if "_encode_plus" in vars(owner))


def test_a_loaded_pipeline_has_its_tokenizers_guarded(tiny_pipelines, tmp_path):
    pipeline = load_pipeline(
        tiny_spec("hunyuan", tiny_pipelines("hunyuan"), tmp_path), device="cpu", stop=StopToken()
    ).pipeline
    for name in ("tokenizer", "tokenizer_2"):
        assert type(pipeline.components[name]).__call__.__qualname__.endswith("call_alone")


def read_padded(tokenizer: Any, length: int) -> Any:
    return tokenizer("a red fox", padding="max_length", max_length=length, truncation=True).input_ids
