"""What tracing adds to a submission: CPU of a replica per POST of a reel of 3 clips, with exported spans and without.

    PYTHONPATH=benchmarks python benchmarks/tracing/measure.py --rounds 7

Two replicas take turns on the same PostgreSQL and Redis, over one connection each. A third one leads and dispatches.
The replica with tracing records every request, and sends its spans to a server of this process, which throws them away.
The thread that sends them counts as the replica's.
"""

import argparse
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from suite.borrowed import PrivatePostgres, redis_server
from suite.rows.requests import POST_3, create_key, environment_of, phoenix_replica, take_turns

REQUESTS = 100


class Receiver(BaseHTTPRequestHandler):
    """Accepts every export of spans."""

    received_bytes = 0

    def do_POST(self) -> None:
        type(self).received_bytes += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass


@contextmanager
def receiver() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, redis_url = stack.enter_context(redis_server(folder))
        postgres = stack.enter_context(PrivatePostgres.running())
        plain = environment_of(folder, postgres.url.render_as_string(hide_password=False), redis_url)
        # The replica that leads this service would also compute the vectors of the others' jobs.
        environment = {**plain, "PHOENIX_SEARCH__MEANING": "off"}
        traced = {**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(receiver())}
        key = create_key(environment)
        stack.enter_context(phoenix_replica(environment, key))
        sides = {
            "off": stack.enter_context(phoenix_replica(environment, key)),
            "on": stack.enter_context(phoenix_replica(traced, key)),
        }
        turns = take_turns(POST_3, sides, REQUESTS, rounds)
    for name in sides:
        print(f"{name:>4}: {statistics.median(turn[name] for turn in turns):.2f} ms of CPU per POST")
    ratios = sorted(turn["on"] / turn["off"] for turn in turns)
    print(f"on / off: {statistics.median(ratios):.3f} (from {ratios[0]:.3f} to {ratios[-1]:.3f} in {rounds} rounds)")
    print(f"exported: {Receiver.received_bytes:,} bytes")


if __name__ == "__main__":
    main()
