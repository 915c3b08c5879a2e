"""What the rows take from the tests and from the older benchmarks: servers, and processes that end with this one."""

import shutil
import sys
from pathlib import Path

# At the end: the older benchmarks have modules with common names.
sys.path.insert(len(sys.path), str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(len(sys.path), str(Path(__file__).resolve().parents[1] / "streams"))

from sides import Side, nchan_side, phoenix_side
from stream_servers import free_port, redis_server, running
from takeover import open_streams
from takeover import start as start_replicas

from builders import make_reel
from faults.cluster import run_cluster, wait_until
from faults.servers import PrivatePostgres
from fixtures import child_processes

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = REPOSITORY / "benchmarks" / "peers"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


def find_nchan() -> bool:
    """Whether nginx and its module are installed where Debian puts them."""
    return NCHAN_MODULE.exists() and (shutil.which("nginx") is not None or Path("/usr/sbin/nginx").exists())


__all__ = [
    "PEERS",
    "REPOSITORY",
    "PrivatePostgres",
    "Side",
    "child_processes",
    "find_nchan",
    "free_port",
    "make_reel",
    "nchan_side",
    "open_streams",
    "phoenix_side",
    "redis_server",
    "run_cluster",
    "running",
    "start_replicas",
    "wait_until",
]
