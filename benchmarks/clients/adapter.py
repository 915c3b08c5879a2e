"""The CPU of the API for a POST to `/v1/videos`, in each form, against the POST of the same reel to `/v1/reels`.

    PYTHONPATH=src:tests:benchmarks .venv/bin/python benchmarks/clients/adapter.py [ROUNDS]

The application runs in this process, on SQLite and a private Redis. The bodies are made before. The forms take turns.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fixtures.api import Api, open_api
from fixtures.redis_server import RedisServer
from phoenix.db.engine import database_url
from phoenix.db.migrate import upgrade
from phoenix.settings import load_settings

POSTS = 10
"""Of one form in a row: few, so that all forms meet the same noise of the machine."""
REEL = {"model": "animatic", "clips": [{"prompt": "a red balloon"}], "duration_s": 4, "seed": 7}
SIZE = {"resolution": "720p", "aspect_ratio": "16:9"}
VIDEO = {"model": "animatic", "prompt": "a red balloon", "seconds": "4", "size": "1280x720", "seed": "7"}
ROUTED = {"model": "animatic", "prompt": "a red balloon", "duration": 4, "seed": 7, **SIZE}


def request_of(path: str, **options: object) -> tuple[str, bytes, Mapping[str, str]]:
    request = httpx.Request("POST", f"http://localhost{path}", **options)  # type: ignore[arg-type]
    return path, request.read(), {"content-type": request.headers["content-type"]}


FORMS = {
    "reels": request_of("/v1/reels", json={**REEL, **SIZE}),
    "videos, OpenAI's form": request_of("/v1/videos", files={name: (None, value) for name, value in VIDEO.items()}),
    "videos, JSON": request_of("/v1/videos", json=VIDEO),
    "videos, OpenRouter's form": request_of("/v1/videos", json=ROUTED),
}


async def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder))
        await asyncio.to_thread(redis.start)
        limits = {"requests_per_minute": 0, "queued_jobs_per_key": 0, "max_queued_jobs": 1_000_000}
        settings = load_settings(data_dir=Path(folder), redis={"url": redis.url}, limits=limits)
        await asyncio.to_thread(upgrade, database_url(settings.database, settings.data_dir))
        async with open_api(settings, leads=False) as api:
            for form in FORMS:
                await measure(api, form, posts=20)
            found = {form: [] for form in FORMS}
            forms = list(FORMS)
            for _ in range(rounds):
                for form in forms:
                    found[form].append(await measure(api, form, posts=POSTS))
                forms = [*forms[1:], forms[0]]
        redis.kill()
    for form, times in found.items():
        ratios = [own / native for own, native in zip(times, found["reels"], strict=True)]
        print(f"{form:26} {statistics.median(times):6.3f} ms of CPU, {statistics.median(ratios):5.2f} times `reels`")


async def measure(api: Api, form: str, *, posts: int) -> float:
    """Milliseconds of CPU for one POST."""
    path, body, headers = FORMS[form]
    began = time.process_time()
    for _ in range(posts):
        response = await api.http.post(path, content=body, headers=headers)
        assert response.status_code in (200, 202), response.text
    return (time.process_time() - began) / posts * 1000


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
