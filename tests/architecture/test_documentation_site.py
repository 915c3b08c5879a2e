"""The documentation site builds without a warning, has every page, and loads nothing from another host."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fixtures import child_processes
from fixtures.repository import REPOSITORY, list_files
from phoenix.client import AsyncPhoenix

PAGES = [*list_files("docs/*.md"), *list_files(":(glob)*.md")]


@pytest.fixture(scope="module")
def docs_site() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "deploy")
        import docs_site  # noqa: PLC0415 - a script of the folder that is not a package

        yield docs_site


@pytest.fixture(scope="module")
def site(docs_site: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return docs_site.build(tmp_path_factory.mktemp("docs") / "source")


def read_pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("index.html")}


def test_every_page_is_on_the_site(docs_site: ModuleType, site: Path) -> None:
    names = {name for name, source in docs_site.list_sources().items() if source in PAGES}
    folders = {name.removesuffix(".md").removesuffix("index") + "/index.html" for name in names}
    folders = {folder.replace("//", "/").removeprefix("/") for folder in folders}

    assert len(names) == len(PAGES)
    assert folders == read_pages(site).keys()


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = (
        r'<(?:script|img|iframe|link[^>]*rel="(?:stylesheet|icon|preconnect)")[^>]*(?:src|href)="((?:https?:)?//[^"]*)"'
    )

    assert {name: found for name, page in read_pages(site).items() if (found := re.findall(loaded, page))} == {}


def test_no_page_asks_the_host_of_the_repository_for_its_stars(site: Path) -> None:
    assert [name for name, page in read_pages(site).items() if 'data-md-component="source"' in page] == []


def test_diagrams_are_drawn_by_a_script_of_the_site(site: Path) -> None:
    page = (site / "architecture" / "index.html").read_text()

    assert 'class="mermaid"' in page
    assert '<script src="../assets/mermaid.min.js"' in page


def test_every_method_of_the_client_is_in_its_reference(site: Path) -> None:
    methods = [name for name, _ in inspect.getmembers(AsyncPhoenix, callable) if not name.startswith("_")]
    page = (site / "client" / "index.html").read_text()

    assert methods
    assert [name for name in methods if f'id="phoenix.client.AsyncPhoenix.{name}"' not in page] == []


def test_a_link_to_another_file_leads_to_the_repository(docs_site: ModuleType) -> None:
    source = REPOSITORY / "docs" / "kubernetes.md"
    text = docs_site.rewrite_links(source, "kubernetes.md", docs_site.list_sources(), "https://example.org/blob/")

    assert "](../" not in text
    assert "](https://example.org/blob/deploy/kubernetes)" in text


def test_a_link_from_the_root_leads_to_the_page_of_the_site(docs_site: ModuleType) -> None:
    source = REPOSITORY / "README.md"
    text = docs_site.rewrite_links(source, "index.md", docs_site.list_sources(), "https://example.org/blob/")

    assert "](api.md)" in text
    assert "](docs/" not in text


def test_a_page_without_a_place_in_the_navigation_stops_the_build(docs_site: ModuleType) -> None:
    configuration = "site_name: Phoenix\nnav:\n  - index.md\n  - guides/\n"

    with pytest.raises(ValueError, match=r"no place in its navigation for lost\.md"):
        docs_site.configure(configuration, ["index.md", "guides/one.md", "lost.md"])


def test_an_entry_of_a_folder_stands_for_its_pages(docs_site: ModuleType) -> None:
    configuration = "site_name: Phoenix\nnav:\n  - Guides:\n      - guides/two.md\n      - guides/\n      - gone.md\n"

    filled = docs_site.configure(configuration, ["guides/one.md", "guides/two.md"])

    assert "- Guides:\n  - guides/two.md\n  - guides/one.md\n" in filled


def test_a_broken_link_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text("# Start\n\n[nowhere](nowhere.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: Phoenix\ndocs_dir: pages\n")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"]
    done = child_processes.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "page does not exist" in done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_list_starts_after_an_empty_line(page: Path) -> None:
    """GitHub shows the list either way, and the site shows it as a part of the paragraph."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    # A list in the middle of a paragraph can only start with a dash or with 1: other numbers are words of a sentence.
    item, start = r"(?:[-*]|\d+\.) ", r"(?:[-*]|1\.) "

    assert re.findall(rf"^(?!\s|#|{item}|$).*\n{start}.*", text, re.MULTILINE) == []
