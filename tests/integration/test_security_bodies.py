"""Bodies that are meant to break a parser, a log or a header: a 4xx and no trace, never a 500."""

import asyncio
import io
import json
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fixtures.api import Api, assert_problem, form_file, open_api, reel_body
from fixtures.media_files import MediaMaker
from phoenix.settings import Settings

LEAKS = ("Traceback", "site-packages", "/work/", "/tmp/", "sqlalchemy", "sqlite", "SELECT ", "INSERT ", 'File "', ".py")


def assert_reveals_nothing(response: httpx.Response) -> None:
    assert [leak for leak in LEAKS if leak in response.text] == []


def json_bytes(prompt: bytes) -> bytes:
    return b'{"clips": [{"prompt": "%s"}], "duration_s": 1}' % prompt


BODIES = {
    "depth": b"[" * 100_000 + b"]" * 100_000,
    "depth of objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "depth in a field": b'{"clips": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "NaN": b'{"clips": [{"prompt": "x"}], "duration_s": NaN}',
    "Infinity": b'{"clips": [{"prompt": "x"}], "duration_s": Infinity}',
    "1e309": b'{"clips": [{"prompt": "x"}], "duration_s": 1e309}',
    "-1e309": b'{"clips": [{"prompt": "x"}], "guidance_scale": -1e309}',
    "a huge integer": b'{"clips": [{"prompt": "x"}], "seed": ' + b"9" * 4000 + b"}",
    "lone surrogate": json_bytes(b"\\ud800"),
    "lone surrogate in a key": b'{"clips": [{"prompt": "x"}], "metadata": {"\\udfff": "x"}}',
    "lone surrogate in an unknown field": b'{"clips": [{"prompt": "x"}], "\\udfff": 1}',
    "bytes that are not UTF-8": json_bytes(b"\xff\xfe"),
    "a NUL byte": json_bytes(b"\x00"),
    "a raw line break": json_bytes(b"\n"),
    "a number": b"1e5",
    "a string": b'"' + b"x" * 100_000 + b'"',
    "10 000 fields": json.dumps({**reel_body(), **{f"f{i}": 1 for i in range(10_000)}}).encode(),
    "gzip": zlib.compress(b"x" * 1000),
    "trailing text": json.dumps(reel_body()).encode() + b"}",
    "a prototype": b'{"clips": [{"prompt": "x"}], "__proto__": {"admin": true}, "__class__": 1}',
    "a deep pointer": b'{"clips": [{"prompt": "x", "' + b"k" * 50_000 + b'": 1}]}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_made_to_break_a_parser_is_refused(api: Api, name: str) -> None:
    response = await api.http.post("/v1/reels", content=BODIES[name], headers={"Content-Type": "application/json"})

    assert 400 <= response.status_code < 500, response.text
    assert_problem(response, response.status_code, "INVALID_REQUEST")
    assert_reveals_nothing(response)
    assert (await api.http.get("/v1/jobs")).json()["data"] == []


async def test_of_a_field_given_twice_the_last_is_taken_and_shown(api: Api) -> None:
    content = b'{"clips": [{"prompt": "first"}], "clips": [{"prompt": "second"}], "duration_s": 1}'

    response = await api.http.post("/v1/reels", content=content, headers={"Content-Type": "application/json"})

    assert response.status_code == 202
    assert [clip["prompt"] for clip in response.json()["clips"]] == ["second"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "1e309"), ("limit", "9" * 5000), ("cursor", "\0"), ("q", "\0"), ("q", "%' OR 1=1 --"), ("state", "x")],
)
async def test_a_query_made_to_break_something_does_not(api: Api, name: str, value: str) -> None:
    response = await api.http.get("/v1/jobs", params={name: value})

    assert response.status_code == 200 or 400 <= response.status_code < 500
    assert_reveals_nothing(response)


async def test_a_chunked_body_without_end_is_cut_off(api: Api) -> None:
    sent_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        while True:
            sent_bytes += 65_536
            yield b" " * 65_536

    response = await api.http.post("/v1/reels", content=endless(), headers={"Content-Type": "application/json"})

    assert_problem(response, 413, "PAYLOAD_TOO_LARGE")
    assert sent_bytes < 1_200_000


async def test_a_body_that_drips_is_cut_off(api_settings: Settings) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    limits = api_settings.limits.model_copy(update={"body_timeout_s": 0.3})
    async with open_api(api_settings.model_copy(update={"limits": limits})) as api:
        response = await api.http.post("/v1/reels", content=dripping(), headers={"Content-Type": "application/json"})

        assert_problem(response, 408, "INVALID_REQUEST")
        assert response.headers["connection"] == "close"


EVIL = "hello\r\n2026-01-01 ERROR admin logged in\x1b[2J\x1b]0;owned\x07\u2028\u202e"


async def test_nothing_of_a_client_starts_a_log_line_of_its_own(api: Api, log_lines: io.StringIO) -> None:
    await api.submit(EVIL, metadata={"k": EVIL})
    await api.http.get("/v1/jobs/%0d%0aadmin%1b%5b2J")
    await api.http.get("/v1/jobs", params={"q": EVIL})

    lines = log_lines.getvalue().splitlines()

    assert len(lines) >= 3
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert "\x1b" not in log_lines.getvalue()


@pytest.mark.parametrize("given", ["a\r\nX-Evil: 1", "a\nb", "\x1b[2J", "é", "x" * 1000])
async def test_a_request_id_cannot_carry_a_header(api: Api, given: str) -> None:
    headers = [(b"X-Request-ID", given.encode())]

    response = await api.http.get("/health/live", headers=headers)

    assert response.headers["x-request-id"].startswith("req_")
    assert "x-evil" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/jobs/%2e%2e/%2e%2e/etc/passwd",
        "/v1/jobs/....//....//etc/passwd/content",
        "/v1/jobs/%252e%252e%252fetc/content",
        "/v1/jobs/job_%00/content",
        "/v1/jobs//etc/passwd/content",
        "/v1/jobs/~root/content",
        "/v1/jobs/C:%5cwindows/content",
        "/v1/artifacts/..%2f..%2fphoenix.db/content",
        "/v1/artifacts/%2fetc%2fpasswd/content",
        "/v1/artifacts/art_00000000000000000000000000%00.mp4/content",
        "/v1/artifacts/art_00000000000000000000000000%2f..%2f../content",
        "/v1/jobs/job_00000000000000000000000000/clips/..%2f../content",
        "/v1/jobs/job_00000000000000000000000000/clips/-1/content",
        "/../phoenix.db",
        "/v1/%2e%2e/phoenix.db",
    ],
)
async def test_no_path_leads_out_of_the_store(api: Api, path: str) -> None:
    response = await api.http.get(path)

    assert response.status_code in (404, 422), response.text
    assert_problem(response, response.status_code, response.json()["code"])
    assert_reveals_nothing(response)


async def test_an_uploads_name_cannot_carry_a_header(api: Api, png_file: Path) -> None:
    files = form_file(png_file, name='a";\r\nX-Evil: 1\r\n.png')

    artifact = (await api.http.post("/v1/uploads", files=files)).json()
    content = await api.http.get(artifact["url"])

    assert "x-evil" not in content.headers
    assert content.headers["x-content-type-options"] == "nosniff"


def one_bit_png(width: int, height: int) -> bytes:
    """A valid picture of one bit per pixel: a few kilobytes, whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


async def refuse_upload(api: Api, name: str, content: bytes) -> None:
    response = await api.http.post("/v1/uploads", files={"file": (name, content)})

    assert_problem(response, 422, "INVALID_REQUEST")
    assert_reveals_nothing(response)
    assert api.stored_files() == []


async def test_a_small_picture_of_nine_hundred_megapixels_is_refused(api: Api) -> None:
    content = one_bit_png(30_000, 30_000)
    assert len(content) < 200_000

    await refuse_upload(api, "bomb.png", content)


async def test_a_small_sound_of_ten_hours_is_refused(api: Api, media: MediaMaker) -> None:
    path = media.sound("bomb.flac", seconds=10 * 3600, source="anullsrc=r=1000:cl=mono")

    await refuse_upload(api, *form_file(path)["file"])


async def test_no_upload_makes_a_decoder_read_another_file(api: Api, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    remote = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n"
    tricks = {
        "clip.mp4": playlist,
        "clip.mp3": remote,
        "list.wav": f"ffconcat version 1.0\nfile '{secret.name}'\n",
        "absolute.wav": f"ffconcat version 1.0\nfile '{secret}'\n",
        "session.wav": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        "dash.mp4": f'<?xml version="1.0"?><MPD><Period><BaseURL>file://{secret}</BaseURL></Period></MPD>',
        "picture.png": '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "script.jpg": "push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/'\npop graphic-context\n",
        "-i x": "-i /etc/passwd",
        "concat:x.mp3": "concat:/etc/passwd|/etc/hosts",
    }

    for name, content in tricks.items():
        await refuse_upload(api, name, content.encode())


@pytest.mark.parametrize("name", ["-i x.png", "--.png", "a;b$(id).png", "concat:x.png", "http://x.png", "%s%n.png"])
async def test_a_name_that_looks_like_an_option_is_only_a_name(api: Api, png_file: Path, name: str) -> None:
    response = await api.http.post("/v1/uploads", files=form_file(png_file, name=name))

    assert response.status_code == 201, response.text
