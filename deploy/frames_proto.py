"""Writes the modules of src/phoenix/frames/v1 from frames.proto. Needs grpcio-tools."""

import sys
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).parents[1] / "src"
PROTO = SOURCE / "phoenix" / "frames" / "v1" / "frames.proto"


def generate(into: Path) -> None:
    """Writes `phoenix/frames/v1/frames_pb2.py`, its types, and `frames_pb2_grpc.py` below `into`."""
    options = [f"--{name}_out={into}" for name in ("python", "pyi", "grpc_python")]
    status = protoc.main(["protoc", f"--proto_path={SOURCE}", *options, str(PROTO)])
    if status:
        sys.exit(status)


if __name__ == "__main__":
    generate(SOURCE)
