"""The examples of the README and of the guide to the API, tried on a real server."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fixtures import child_processes
from fixtures.repository import REPOSITORY
from phoenix.cli.embedded.private import private_server
from phoenix.settings import load_settings

README = (REPOSITORY / "README.md").read_text()
GUIDE = (REPOSITORY / "docs" / "api.md").read_text()
ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with private_server(load_settings(data_dir=tmp_path_factory.mktemp("data"))) as url:
        yield url


def requests_of(document: str) -> list[str]:
    """The bodies that the document's curl commands send to /v1/reels."""
    return re.findall(r"/v1/reels\b[^\n]* -d '(.*?)'", document, re.DOTALL)


def test_the_python_example_makes_a_video(server: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = child_processes.run(
        [sys.executable, "-c", example.replace(ADDRESS, server)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "job.succeeded"
    assert (tmp_path / "reel.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("document", [README, GUIDE], ids=["README.md", "docs/api.md"])
def test_the_requests_of_the_curl_examples_are_accepted(server: str, document: str) -> None:
    bodies = requests_of(document)
    answers = [httpx.post(f"{server}/v1/reels", json=json.loads(body), timeout=100) for body in bodies]

    assert [answer.status_code for answer in answers] == [202] * len(bodies)
    assert bodies


def test_the_guide_names_every_event(server: str) -> None:
    document = httpx.get(f"{server}/openapi.json", timeout=100).json()
    events = document["components"]["schemas"]["JobEvent"]["discriminator"]["mapping"]

    assert [name for name in events if f"`{name}`" not in GUIDE] == []


def test_the_guide_names_only_filters_that_exist(server: str) -> None:
    (line,) = re.findall(r"filters (.*) \|$", GUIDE, re.MULTILINE)
    parameters = httpx.get(f"{server}/openapi.json", timeout=100).json()["paths"]["/v1/jobs"]["get"]["parameters"]

    assert set(re.findall(r"`(\w+)`", line)) <= {parameter["name"] for parameter in parameters}
