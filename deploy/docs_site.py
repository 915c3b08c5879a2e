"""Builds the documentation site: the pages of docs/ and of the root, with links that work there, and a navigation."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml

REPOSITORY = Path(__file__).parents[1]
CONFIGURATION = "mkdocs.yml"
# Pages of the root, with their names on the site.
ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
}
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)

Entry: TypeAlias = str | dict[str, Any]


def build(folder: Path, mermaid: Path | None = None) -> Path:
    """Builds the site strictly below `folder`, which is replaced. Returns the folder of the site.

    Without the script of Mermaid, diagrams are shown only where the browser may load it from another host.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    sources = list_sources()
    configuration = (REPOSITORY / CONFIGURATION).read_text()
    address = _find_repository(configuration) + "/blob/HEAD/"
    for name, source in sources.items():
        target = pages / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            target.write_text(rewrite_links(source, name, sources, address))
        else:
            shutil.copy(source, target)
    if mermaid is not None:
        (pages / "assets").mkdir()
        shutil.copy(mermaid, pages / "assets" / "mermaid.min.js")
    (folder / CONFIGURATION).write_text(configure(configuration, [name for name in sources if name.endswith(".md")]))
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", CONFIGURATION]
    subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - every word is ours
    return folder / "site"


def list_sources() -> dict[str, Path]:
    """What the site is made of: the source of each file, by its path on the site."""
    docs = REPOSITORY / "docs"
    sources = {name: REPOSITORY / source for source, name in ROOT_PAGES.items()}
    return sources | {
        path.relative_to(docs).as_posix(): path
        for path in sorted(docs.rglob("*"))
        if path.is_file() and path.name != "package.json"
    }


def rewrite_links(source: Path, name: str, sources: dict[str, Path], address: str) -> str:
    """The text of a page, whose links lead to pages of the site, or to the repository for every other file."""
    places = {path: place for place, path in sources.items()}

    def rewrite(match: re.Match[str]) -> str:
        target = (source.parent / match[2]).resolve()
        if target in places:
            return match[1] + os.path.relpath(places[target], Path(name).parent)
        return match[1] + address + target.relative_to(REPOSITORY).as_posix()

    parts = FENCE.split(source.read_text())
    return "".join(part if part.startswith("```") else LINK.sub(rewrite, part) for part in parts)


def configure(configuration: str, pages: list[str]) -> str:
    """The configuration with every page in its navigation. Raises `ValueError` if a page has no place there."""
    head, nav, rest = re.split(r"(^nav:\n(?: .*\n)+)", configuration, maxsplit=1, flags=re.MULTILINE)
    entries = yaml.safe_load(nav)["nav"]
    named = {name for name in _names_of(entries) if name in pages}
    filled = list(_fill(entries, pages, named))
    if missing := set(pages) - set(_names_of(filled)):
        raise ValueError(f"{CONFIGURATION} has no place in its navigation for {', '.join(sorted(missing))}")
    return f"{head}{yaml.safe_dump({'nav': filled}, sort_keys=False)}{rest}\ndocs_dir: pages\nsite_dir: site\n"


def _fill(entries: list[Entry], pages: list[str], named: set[str]) -> Iterator[Entry]:
    for entry in entries:
        match entry:
            case dict():
                ((title, below),) = entry.items()
                if isinstance(below, str):
                    yield from ([{title: below}] if below in pages else [])
                elif filled := list(_fill(below, pages, named)):
                    yield {title: filled}
            case str() if entry.endswith("/"):
                yield from (name for name in pages if name.startswith(entry) and name not in named)
            case str():
                yield from ([entry] if entry in pages else [])


def _names_of(entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from [below] if isinstance(below, str) else _names_of(below)


def _find_repository(configuration: str) -> str:
    match = re.search(r"^ +link: (\S+)$", configuration, re.MULTILINE)
    if match is None:
        raise ValueError(f"{CONFIGURATION} has no link to the repository")
    return match[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mermaid", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True, help="a folder that is replaced by the site")
    options = parser.parse_args()
    site = build(REPOSITORY / "build" / "docs-source", options.mermaid)
    shutil.rmtree(options.into, ignore_errors=True)
    site.rename(options.into)
