"""TypeScript clients made from the document compile, and take a reel from prompt to file on a live server."""

import json
import shutil
from pathlib import Path

import pytest

from fixtures.client_tools import CLIENTS, DOCUMENT, Tools, last_json


@pytest.fixture(scope="module")
def built(node_tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both clients generated, and the scripts that use them compiled with them."""
    folder = tmp_path_factory.mktemp("typescript")
    for path in (CLIENTS / "ts").iterdir():
        shutil.copy(path, folder)
    shutil.copy(CLIENTS / "package.json", folder)
    shutil.copy(DOCUMENT, folder / "openapi.json")
    (folder / "node_modules").symlink_to(node_tools.programs.parent)
    node_tools.run("openapi-typescript", "openapi.json", "-o", "openapi_typescript/schema.ts", folder=folder)
    node_tools.run("openapi-ts", folder=folder)
    node_tools.run("tsc", "--project", ".", folder=folder)
    return folder


@pytest.mark.parametrize("script", ["with_openapi_fetch", "with_hey_api"])
def test_a_generated_client_takes_a_reel_from_prompt_to_file(
    built: Path, node_tools: Tools, live_url: str, script: str
) -> None:
    seen = last_json(node_tools.run("/usr/bin/env", "node", f"built/{script}.js", live_url, folder=built))

    assert (seen["events"][0], seen["events"][-1]) == ("snapshot", "job.succeeded")
    assert "clip.succeeded" in seen["events"]
    assert seen["bytes"] > 1000
    assert seen["is_canceled"] is True
    assert seen["refused"] == "/clips"


def test_a_switch_over_the_events_compiles_only_if_it_is_complete(built: Path, node_tools: Tools) -> None:
    complete = (built / "events.ts").read_text()
    (built / "incomplete.ts").write_text(complete.replace('    case "job.canceled":\n', ""))
    settings = json.loads((built / "tsconfig.json").read_text())
    (built / "tsconfig.incomplete.json").write_text(json.dumps({**settings, "files": ["incomplete.ts"]}))

    said = node_tools.run("tsc", "--noEmit", "--project", "tsconfig.incomplete.json", folder=built, check=False)

    assert "is not assignable to type 'never'" in said
    assert "job.canceled" in said or "JobCanceled" in said or "type: " in said


def test_the_published_openai_package_makes_changes_and_deletes_videos(
    built: Path, node_tools: Tools, live_url: str
) -> None:
    seen = last_json(node_tools.run("/usr/bin/env", "node", "built/with_openai.js", live_url, folder=built))

    assert seen.pop("bytes") > 1000
    assert seen == {
        "first": "queued",
        "status": "completed",
        "progress": 100,
        "size": "426x240",
        "thumbnail": "image/jpeg",
        "remixed_from": True,
        "ended": [["completed", seconds] for seconds in ("1", "2", "2", "1")],
        "edits": ["model", "model"],
        "is_listed": True,
        "deleted": True,
        "missing": "not_found",
        "refused": "size",
    }
