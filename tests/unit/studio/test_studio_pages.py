"""What the studio serves, and what it leaves to the API."""

import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from phoenix.studio import FOLDER, mount


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = Starlette(routes=[Route("/v1/jobs", lambda _: PlainTextResponse("api"), methods=["GET"])])
    mount(app)
    with TestClient(app) as opened:
        yield opened


def test_the_page_may_run_nothing_but_its_own_files(client: TestClient):
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere(client: TestClient):
    page = client.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", page)
    assert "//" not in page.replace("http-equiv", "")


def test_every_file_that_the_page_and_its_modules_name_is_served(client: TestClient):
    named = re.findall(r'(?:src|href)="(/studio/[^"]+)"', client.get("/").text)
    imported = [name for module in FOLDER.glob("*.js") for name in re.findall(r'from "\./([^"]+)"', module.read_text())]
    for path in {*named, *(f"/studio/{name}" for name in imported)}:
        assert client.get(path).status_code == 200, path


def test_an_unchanged_file_is_not_sent_again(client: TestClient):
    first = client.get("/studio/app.js")
    again = client.get("/studio/app.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PUT", "/v1/jobs", 405), ("POST", "/v1/absent", 404), ("GET", "/absent", 404)]
)
def test_what_the_api_does_not_have_is_not_the_studios_to_answer(
    client: TestClient, method: str, path: str, status: int
):
    answer = client.request(method, path)
    assert answer.status_code == status


def test_no_path_leads_out_of_its_folder(client: TestClient):
    assert client.get("/studio/..%2fpages.py").status_code == 404
