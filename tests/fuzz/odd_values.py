"""Values that a careless, broken or hostile client sends. Each is drawn by the run's own random numbers."""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

TEXTS: Sequence[str] = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udc00\ud800",
    "\U0001f3a5\u200d\u202e",
    "\r\nX-Injected: 1",
    "%s%n{0}{{}}${7*7}",
    "' OR '1'='1' --",
    "%_\\",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "x" * 5000,
    "\u0000\u001f\u007f\u0085\ufeff",
    "null",
)
VALUES: Sequence[Any] = (
    *TEXTS,
    None,
    True,
    [],
    {},
    -1,
    0,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    1e308,
    -0.0,
    0.1,
    float("inf"),
    float("-inf"),
    float("nan"),
    [[]],
    {"": None},
    {"\x00": 1},
    ["x"] * 2000,
)
QUERY_VALUES: Sequence[str] = (
    *(text for text in TEXTS if text.isprintable() or "\x00" in text),
    "-1",
    "0",
    "101",
    "9" * 5000,
    "1e5",
    "true",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-01-31",
    "2026-02-30T00:00:00Z",
    "99999999999999999999",
    "nan",
    "eyJhIjoxfQ==",
)
PATH_PARTS: Sequence[str] = (
    "%00",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "%ff%fe",
    "%f0%9f%8e%a5",
    "*",
    "job_",
    "x" * 3000,
    "-1",
    "99999999999999999999999",
    "1.5",
    "job_00000000000000000000000000",
    "art_00000000000000000000000000",
    "whd_7zzzzzzzzzzzzzzzzzzzzzzzzz",
    "video_00000000000000000000000000",
)
HEADERS: Mapping[str, Sequence[bytes]] = {
    "Accept": (b"", b"text/event-stream", b"application/json", b"image/*;q=0", b"*/*;q=x", b"x" * 2000),
    "Accept-Encoding": (b"gzip, br;q=0", b"identity;q=0, *;q=0", b"\xff"),
    "Authorization": (b"Basic eDp5", b"Bearer", b"bearer phx_", b"Bearer \xff\xfe", b"Bearer " + b"x" * 4000),
    "Content-Type": (b"", b"text/plain", b"application/json; charset=utf-16", b"multipart/form-data", b"\xe9"),
    "Cookie": (b"phoenix_stream=x", b'phoenix_stream="a;b"', b"=;=;=", b"phoenix_stream=\xff"),
    "Forwarded": (b"for=127.0.0.1;host=evil.example",),
    "Idempotency-Key": (b"", b'"', b'"a"', b"\xe4", b"k" * 300, b'"\\"', b"a, b"),
    "If-Match": (b"*", b'"x"', b'W/"x"', b'"', b'"a", "b"', b"x" * 3000, b"\xff"),
    "If-None-Match": (b"*", b'"x"', b"W/", b'"a",', b"\xff"),
    "If-Range": (b'"x"', b"Wed, 21 Oct 2015 07:28:00 GMT", b"\xff"),
    "If-Modified-Since": (b"yesterday", b"Wed, 21 Oct 9999 07:28:00 GMT"),
    "Last-Event-ID": (b"", b"-1", b"9" * 400, b"1e3", b"\xff", b"a.b.c", b"\xc2\xb2"),
    "Origin": (b"null", b"https://evil.example", b"\xff"),
    "Prefer": (b"wait=0", b"wait=-1", b"wait=x", b"wait", b"respond-async, wait=0", b"wait=" + b"9" * 400),
    "Range": (b"bytes=0-", b"bytes=-1", b"bytes=5-1", b"bytes=0-0,2-3", b"lines=1-2", b"bytes=" + b"0-0," * 500),
    "Traceparent": (b"00-0-0-0", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"\xff"),
    "X-Forwarded-For": (b"1.2.3.4", b"\xff, ::1", b"x" * 500),
    "X-Request-ID": (b"", b"a b", b"x" * 500, b"\xff", b"a\tb"),
}
BODIES: Sequence[bytes] = (
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b"[" * 50_000,
    b'{"clips":' * 20_000,
    b'{"a":1}{"b":2}',
    b'{"clips":[{"prompt":"a"}],"clips":[]}',
    b'{"clips":[{"prompt":"\\ud800"}]}',
    b'{"clips":[{"prompt":"a\\u0000"}]}',
    b'{"clips":[{"prompt":"\xff"}]}',
    b"\xef\xbb\xbf{}",
    '{"clips":[{"prompt":"a"}]}'.encode("utf-16"),
    b'{"clips":[{"prompt":"a","seed":' + b"9" * 5000 + b"}]}",
    b'{"clips":[{"prompt":"a","steps":1e999}]}',
    b'{"clips":[{"prompt":"a"}],"metadata":{"\\ud800":"x"}}',
    b'{"\\u0000":1}',
    b"a=b&c=d",
    b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n',
)


def spoil(draw: Random, body: Any) -> Any:
    """The body with one value in it replaced, removed, or an unknown field added."""
    if isinstance(body, dict) and body:
        name = draw.choice(sorted(body))
        roll = draw.random()
        if roll < 0.5:
            return {**body, name: spoil(draw, body[name])}
        if roll < 0.65:
            return {key: value for key, value in body.items() if key != name}
        return {**body, draw.choice([name, "extra", *TEXTS[:8]]): draw.choice(VALUES)}
    if isinstance(body, list) and body and draw.random() < 0.7:
        at = draw.randrange(len(body))
        return [*body[:at], spoil(draw, body[at]), *body[at + 1 :]]
    return draw.choice(VALUES)


def encode(body: Any) -> bytes:
    """As JSON; numbers that JSON does not have are written as Python writes them."""
    return json.dumps(body).encode()


def tiny_png() -> bytes:
    """A whole picture of 16 by 16 pixels."""
    rows = b"".join(b"\0" + bytes([row * 15, 80, 160]) * 16 for row in range(16))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def tiny_wav(duration_s: float = 0.5) -> bytes:
    """A whole sound: a rising ramp of 16 bits at 8 kHz."""
    samples = b"".join(struct.pack("<h", at % 2000) for at in range(int(8000 * duration_s)))
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    return head + struct.pack("<4sI", b"data", len(samples)) + samples


FILES: Sequence[bytes] = (
    b"",
    b"\x00",
    b"just text",
    tiny_png()[:60],
    tiny_wav()[:30],
    b"RIFF\xff\xff\xff\xffWAVEfmt ",
    b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x08moov",
    b"#EXTM3U\nfile:///etc/passwd\n",
    b"GIF89a\xff\xff\xff\xff\xf7\x00\x00;",
    b"PK\x03\x04" + b"\x00" * 100,
    b"\x1aE\xdf\xa3" + b"\xff" * 200,
)
