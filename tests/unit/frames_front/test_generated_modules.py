"""The committed modules of the gRPC protocol are those of its source, and the documentation has every message."""

import re
from pathlib import Path

import pytest

from fixtures.repository import REPOSITORY
from phoenix.frames.front import client_messages
from phoenix.frames.front.faults import FAULT_KINDS
from phoenix.frames.v1 import frames_pb2

DEPLOY = REPOSITORY / "deploy"
MODULES = REPOSITORY / "src" / "phoenix" / "frames" / "v1"
PAGE = (REPOSITORY / "docs" / "frames-protocol.md").read_text()


def test_the_modules_are_what_the_script_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(DEPLOY)
    import frames_proto  # noqa: PLC0415 - it is a script in a folder that is no package

    frames_proto.generate(tmp_path)

    written = {path.name: path.read_text() for path in (tmp_path / "phoenix" / "frames" / "v1").iterdir()}
    assert sorted(written) == ["frames_pb2.py", "frames_pb2.pyi", "frames_pb2_grpc.py"]
    assert {name: (MODULES / name).read_text() for name in written} == written, "run `make proto`"


def test_the_documentation_has_every_fault_with_its_codes() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|[^|]+\|$", PAGE, re.MULTILINE))
    codes = {
        fault.value: f"{kind.http_status} | {kind.close_code} | `{kind.grpc_code}`"
        for fault, kind in FAULT_KINDS.items()
    }

    assert rows == codes


@pytest.mark.parametrize(
    "message",
    [
        client_messages.OpenSession,
        client_messages.ClearSound,
        client_messages.EndSound,
        client_messages.SessionOpened,
        client_messages.SoundCleared,
        client_messages.SessionDraining,
        client_messages.SessionEnded,
        client_messages.SessionFailed,
        client_messages.SessionVideo,
    ],
)
def test_the_documentation_has_every_field_of_a_message(message: type[client_messages.JsonMessage]) -> None:
    name = message.model_fields["type"].default if "type" in message.model_fields else "video_id"

    assert f'"{name}"' in PAGE
    assert [field for field in message.model_fields if f'"{field}"' not in PAGE] == []


def test_the_documentation_names_every_method_of_grpc() -> None:
    methods = frames_pb2.DESCRIPTOR.services_by_name["Frames"].methods_by_name

    assert [name for name in methods if f"`{name}`" not in PAGE] == []
