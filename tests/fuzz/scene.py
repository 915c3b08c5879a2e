"""A request of the stateful fuzz, and what a rule may look at when it draws one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from fuzz.callers import Caller, Callers
from fuzz.odd_values import BODIES, PATH_PARTS, TEXTS, encode, spoil

FRESH = "01" + "z" * 24
"""The part after the prefix of an id that nobody has."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """Encoded as it is sent."""
    query: str = ""
    headers: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    body: bytes = b""
    with_key: bool = True
    token_of: Caller | None = None
    """Who made the token that it carries."""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def sent(self) -> str:
        heads = b"\n".join(self.headers.values())
        return "\n".join([self.target, heads.decode("latin-1"), self.body.decode(errors="replace")])


@dataclass(frozen=True)
class Scene:
    """What a rule may look at."""

    draw: Random
    caller: Caller
    callers: Callers

    def own_or_other(self, kind: str) -> str:
        """An id of the caller's, in one of four cases of another caller's, and sometimes of nobody's or none at all."""
        owner = self.caller
        roll = self.draw.random()
        if roll < 0.25:
            owner = self.draw.choice(list(self.callers.others(self.caller)))
        if roll > 0.97:
            return self.draw.choice(PATH_PARTS)
        owned: Sequence[str] = getattr(owner, kind)
        # The newest objects change most.
        return self.draw.choice(owned[-12:]) if owned else f"{kind[:3]}_{FRESH}"

    def text(self, most: int = 40) -> str:
        """Begins with the caller's canary."""
        odd = self.draw.choice(TEXTS) if self.draw.random() < 0.1 else "a boat"
        return f"{self.caller.canary} {odd}"[: len(self.caller.canary) + most]


def send_json(scene: Scene, path: str, body: Mapping[str, Any]) -> Request:
    """Posts the body: one time in four spoiled, one time in fifty as something else."""
    draw, spoiled = scene.draw, dict(body)
    if draw.random() < 0.25:
        spoiled = spoil(draw, body)
    data = draw.choice(BODIES) if draw.random() < 0.02 else encode(spoiled)
    headers = {"Content-Type": b"application/json"}
    if draw.random() < 0.3:
        # The same few for everybody: a key of one caller means nothing to another one.
        headers["Idempotency-Key"] = b"again-%d" % draw.randrange(8)
    return Request("POST", path, headers=headers, body=data)


def form(path: str, fields: Mapping[str, str], data: bytes | None = None, filename: str = "") -> Request:
    boundary = b"fuzzed-boundary"
    parts = [
        b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (lenient(name), lenient(value))
        for name, value in fields.items()
    ]
    if data is not None:
        head = b'Content-Disposition: form-data; name="file"; filename="%b"\r\n' % lenient(filename)
        parts.append(head + b"Content-Type: application/octet-stream\r\n\r\n" + data)
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    return Request("POST", path, headers={"Content-Type": b"multipart/form-data; boundary=" + boundary}, body=body)


def lenient(text: str) -> bytes:
    """UTF-8; half a surrogate pair becomes the three bytes that some clients send for it."""
    return text.encode(errors="surrogatepass")
