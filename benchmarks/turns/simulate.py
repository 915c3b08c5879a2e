"""How long reels wait under different rules of whose turn it is: a simulation of the queue, without any process.

    python benchmarks/turns/simulate.py

Reels come at random, each of a key of its own or of one of a few, and a dump of one key may come among them. Their
clips wait for the slots of a fleet. Prints within how many seconds the last clip of 50, 95 and 99 of 100 reels
has begun.
"""

import argparse
import heapq
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from phoenix.jobs.scheduling.fair_queue import USAGE_DECAY_RATE

CLIP_S = 10.0
SPREAD = 0.25
DUMP = "dump"
NEVER = 0.0

RULES: Mapping[str, float | None] = {
    "first come, first served": None,
    "never forgotten": NEVER,
    "forgotten at once": math.inf,
    **{f"forgotten at {rate} s/s": float(rate) for rate in sorted({1, 2, USAGE_DECAY_RATE, 8})},
}
"""The rates at which a key's service is forgotten while it has none."""


@dataclass(frozen=True)
class Scene:
    """What comes to which fleet."""

    clips: int
    slots: int
    load: float
    keys: int | None = None
    """None: each reel has a key of its own."""
    dump_clips: int = 0
    reels: int = 2000

    def __str__(self) -> str:
        whose = "a key per reel" if self.keys is None else f"{self.keys} keys"
        dump = f", and a dump of {self.dump_clips} clips" if self.dump_clips else ""
        return f"{self.clips} clips, {self.slots} slots, {self.load:.0%} busy, {whose}{dump}"


@dataclass
class Key:
    """Clips that wait, and the service behind them."""

    queue: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    """(arrival, reel) of each clip, the first one last."""
    running: list[float] = field(default_factory=list[float])
    served_s: float = 0.0
    ended_s: float = 0.0

    def service_s(self, now_s: float, rate: float) -> float:
        if self.running:
            return self.served_s + sum(now_s - began_s for began_s in self.running)
        idle_s = now_s - self.ended_s
        return max(self.served_s - rate * idle_s, 0.0) if idle_s else self.served_s


def simulate(scene: Scene, rate: float | None, *, seed: int = 20) -> Sequence[float]:
    """Sorted seconds from the arrival of each reel, the dump's aside, until its last clip began."""
    chance = random.Random(seed)
    comings = _arrivals(scene, chance)
    keys: dict[str, Key] = {}
    waits: dict[int, float] = {}
    free = scene.slots
    agenda: list[tuple[float, int, str, int | float]] = [(at, 0, owner, reel) for at, owner, reel in comings]
    heapq.heapify(agenda)
    while agenda:
        now_s, what, owner, detail = heapq.heappop(agenda)
        key = keys.setdefault(owner, Key())
        if what == 0:
            size = scene.dump_clips if owner == DUMP else scene.clips
            key.queue[:0] = [(now_s, int(detail))] * size
        else:
            key.running.remove(detail)
            key.served_s, key.ended_s = key.served_s + now_s - detail, now_s
            free += 1
        while free and (waiting := [name for name, found in keys.items() if found.queue]):
            chosen = min(waiting, key=_turn(keys, now_s, rate))
            arrived_s, reel = keys[chosen].queue.pop()
            if chosen != DUMP:
                waits[reel] = now_s - arrived_s
            keys[chosen].running.append(now_s)
            free -= 1
            took_s = chance.gammavariate(1 / SPREAD**2, CLIP_S * SPREAD**2)
            heapq.heappush(agenda, (now_s + took_s, 1, chosen, now_s))
        if not (key.queue or key.running) and scene.keys is None:
            del keys[owner]
    return sorted(waits.values())


def _arrivals(scene: Scene, chance: random.Random) -> list[tuple[float, str, int]]:
    rate = scene.load * scene.slots / (scene.clips * CLIP_S)
    at_s, found = 0.0, list[tuple[float, str, int]]()
    for reel in range(scene.reels):
        at_s += chance.expovariate(rate)
        owner = reel if scene.keys is None else chance.randrange(scene.keys)
        found.append((at_s, f"key {owner}", reel))
    if scene.dump_clips:
        found.append((found[len(found) // 4][0], DUMP, -1))
    return found


def _turn(keys: Mapping[str, Key], now_s: float, rate: float | None) -> Callable[[str], tuple[float, float]]:
    """The sort key of an owner: the smallest is next."""

    def tag(owner: str) -> tuple[float, float]:
        key = keys[owner]
        return (0.0 if rate is None else key.service_s(now_s, rate)), key.queue[-1][0]

    return tag


SCENES = (
    Scene(5, 6, 0.75),
    Scene(5, 6, 0.9),
    Scene(20, 6, 0.9),
    Scene(5, 6, 0.9, keys=20),
    Scene(5, 6, 0.5, dump_clips=1000),
    Scene(1, 1, 0.5, dump_clips=1000),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reels", type=int, default=2000)
    reels: int = parser.parse_args().reels
    for scene in SCENES:
        print(f"\n{scene}")
        for name, rate in RULES.items():
            waits = simulate(Scene(**{**vars(scene), "reels": reels}), rate)
            shown = [waits[int(share * len(waits))] for share in (0.5, 0.95, 0.99)]
            print(f"  {name:26} " + " ".join(f"{wait_s:8.1f}" for wait_s in shown))


if __name__ == "__main__":
    main()
