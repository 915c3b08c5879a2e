"""Keeping real processes alive, and ending them."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phoenix.cli.embedded.children import ChildCannotStart, Children, ChildSpec, RestartRule

QUICK = RestartRule(steady_s=3600, attempts=3, delay_s=0.01)


def spec(code: str, *, grace_s: float = 5) -> ChildSpec:
    return ChildSpec("sleeper", (sys.executable, "-c", code), dict(os.environ), grace_s)


async def lines_in(path: Path, count: int) -> list[str]:
    async with asyncio.timeout(100):
        while len(lines := _read(path)) < count:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
    return lines


def _read(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def appending(path: Path, then: str) -> str:
    return f"import os, signal, time; open({str(path)!r}, 'a').write(f'{{os.getpid()}}\\n'); {then}"


def is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_dies_is_started_again(tmp_path: Path):
    log = tmp_path / "pids"
    code = appending(log, "time.sleep(600)")
    async with Children(RestartRule(steady_s=0, delay_s=0.01)).alive([spec(code)]):
        [first] = await lines_in(log, 1)
        os.kill(int(first), 9)
        assert len(set(await lines_in(log, 2))) == 2


async def test_a_child_that_dies_early_again_and_again_is_given_up(tmp_path: Path):
    log = tmp_path / "pids"
    with pytest.raises(ExceptionGroup) as caught:
        async with Children(QUICK).alive([spec(appending(log, "raise SystemExit(4)"))]):
            await asyncio.Event().wait()
    assert caught.group_contains(ChildCannotStart, match="status 4")
    assert len(_read(log)) == QUICK.attempts


async def test_the_end_of_the_block_ends_every_child(tmp_path: Path):
    log = tmp_path / "pids"
    specs = [spec(appending(log, "time.sleep(600)"))] * 2
    async with Children(QUICK).alive(specs):
        pids = await lines_in(log, 2)
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("hurry", [lambda _: None, Children.kill])
async def test_a_child_that_does_not_listen_is_killed_after_its_grace_or_at_once(
    tmp_path: Path, hurry: Callable[[Children], None]
):
    log = tmp_path / "pids"
    deaf = appending(log, "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    children = Children(QUICK)
    async with asyncio.timeout(100), children.alive([spec(deaf, grace_s=0.5)]):
        [pid] = await lines_in(log, 1)
        asyncio.get_running_loop().call_later(0.1, hurry, children)
    assert not is_alive(pid)
