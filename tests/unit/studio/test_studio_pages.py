"""What the studio serves, and what it leaves to the API."""

import os
import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from phoenix.studio import FOLDER, mount

VENDORED = FOLDER / "vendor"
MODULES = [path for path in FOLDER.rglob("*.js") if VENDORED not in path.parents]
MAX_MODULE_LINES = 400


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


def test_media_may_come_from_the_store_that_downloads_are_redirected_to_and_scripts_may_not():
    app = Starlette()
    mount(app, media_origin="https://store.example.com")
    with TestClient(app) as client:
        policy = client.get("/").headers["content-security-policy"]
    allowing = {part.split()[0] for part in policy.split("; ") if "https://store.example.com" in part}
    assert allowing == {"img-src", "media-src"}


def test_the_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere(client: TestClient):
    page = client.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", page)
    assert "//" not in page.replace("http-equiv", "")


def test_every_file_that_the_page_and_its_modules_name_is_served(client: TestClient):
    named = re.findall(r'(?:src|href)="(/studio/[^"]+)"', client.get("/").text)
    imported = [
        "/studio/" + os.path.relpath((module.parent / name).resolve(), FOLDER)
        for module in MODULES
        for name in re.findall(r'(?:from |import\()"(\.[^"]+)"', module.read_text())
    ]
    assert len(imported) > len(MODULES)
    for path in {*named, *imported}:
        assert client.get(path).status_code == 200, path


def test_modules_have_the_media_type_without_which_a_browser_refuses_them(client: TestClient):
    assert "javascript" in client.get("/studio/vendor/hls.js/hls.light.min.js").headers["content-type"]


def test_no_module_writes_markup_or_is_longer_than_the_cap():
    texts = {path.name: path.read_text() for path in MODULES}
    assert [
        name for name, text in texts.items() if re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(", text)
    ] == []
    assert [name for name, text in texts.items() if len(text.splitlines()) > MAX_MODULE_LINES] == []


def test_every_vendored_library_has_its_license_beside_it():
    folders = [path for path in VENDORED.iterdir() if path.is_dir()]
    assert folders
    assert [path.name for path in folders if not (path / "LICENSE").stat().st_size] == []


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
