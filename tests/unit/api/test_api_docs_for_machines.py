"""`/llms.txt` and the Markdown of the pages, as a program reads them."""

import pytest
from starlette.testclient import TestClient

from fixtures.repository import REPOSITORY, list_files
from phoenix.api.app import create_app
from phoenix.api.openapi.pages import DocsPage, read_pages, render_index, rewrite_links
from phoenix.settings import load_settings

NAMES = [path.relative_to(REPOSITORY / "docs").as_posix() for path in list_files("docs/*.md")]


@pytest.fixture(scope="module")
def http() -> TestClient:
    return TestClient(create_app(load_settings()), base_url="http://localhost")


def test_the_index_lists_every_page(http: TestClient) -> None:
    index = http.get("/llms.txt")

    assert index.headers["content-type"] == "text/plain; charset=utf-8"
    assert index.text.startswith("# Phoenix\n\n> ")
    assert [name for name in NAMES if f"](/docs/{name})" not in index.text] == []


@pytest.mark.parametrize("name", ["api.md", "operations/webhooks.md"])
def test_a_page_is_its_markdown(http: TestClient, name: str) -> None:
    page = http.get(f"/docs/{name}")

    assert page.headers["content-type"] == "text/markdown; charset=utf-8"
    assert page.text.partition("\n")[0] == (REPOSITORY / "docs" / name).read_text().partition("\n")[0]


@pytest.mark.parametrize("path", ["/docs/unknown.md", "/docs/../README.md", "/docs/operations/../../README.md"])
def test_nothing_but_a_page_is_served(http: TestClient, path: str) -> None:
    assert http.get(path.replace("..", "%2e%2e")).status_code == 404


def test_a_link_to_what_is_no_page_leads_to_the_repository() -> None:
    text = "[a](../api.md#top) [b](../../deploy/env.example) [c](https://example.com) [d](/openapi.json)"

    assert rewrite_links("operations/settings.md", text, ["api.md"]) == (
        "[a](../api.md#top) [b](https://github.com/phoenix-video/phoenix/blob/HEAD/deploy/env.example) "
        "[c](https://example.com) [d](/openapi.json)"
    )


def test_a_page_is_described_by_its_first_sentence() -> None:
    page = DocsPage("a.md", "# The title\n\nThis [says](b.md) what\nit is. More.\n")
    table = DocsPage("b.md", "# Another\n\n| a | b |\n")

    index = render_index({"a.md": page, "b.md": table})

    assert "- [The title](/docs/a.md): This says what it is\n- [Another](/docs/b.md)\n" in index


def test_every_page_of_the_documentation_is_read() -> None:
    assert set(read_pages()) == set(NAMES)
