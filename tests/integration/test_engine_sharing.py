"""What calls with shared weights may not do at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fixtures.tiny_pipelines import tiny_spec
from phoenix.engine.backends.diffusers.loading import load_pipeline
from phoenix.engine.stop_token import StopToken

LONG_ENOUGH_S = 0.1
"""How long a call stays, so that a second thread could enter."""


@pytest.mark.parametrize(("kind", "name"), [("wan", "tokenizer"), ("hunyuan", "tokenizer"), ("hunyuan", "tokenizer_2")])
def test_a_tokenizer_reads_for_one_call_at_a_time(kind, name, tiny_pipelines, tmp_path, monkeypatch):
    model = tiny_spec(kind, tiny_pipelines(kind), tmp_path)
    pipeline = load_pipeline(model, device="cpu", stop=StopToken()).pipeline
    tokenizer = pipeline.components[name]
    plain = type(tokenizer).__mro__[1]
    read, inside, met = plain.__call__, [], threading.Event()

    def read_while_others_read(self: Any, *args: Any, **kwargs: Any) -> Any:
        inside.append(1)
        if len(inside) > 1:
            met.set()
        met.wait(LONG_ENOUGH_S)
        try:
            return read(self, *args, **kwargs)
        finally:
            inside.pop()

    monkeypatch.setattr(plain, "__call__", read_while_others_read)
    with ThreadPoolExecutor(2) as pool:
        lengths = pool.map(lambda length: len(read_padded(tokenizer, length)), [20, 40])
    assert list(lengths) == [20, 40]
    assert not met.is_set()


def read_padded(tokenizer: Any, length: int) -> Any:
    return tokenizer("a red fox", padding="max_length", max_length=length, truncation=True).input_ids
