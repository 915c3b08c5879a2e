"""The documentation for machines: `/llms.txt`, and the Markdown of each page under `/docs/`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from posixpath import normpath

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from phoenix.errors import NotFound

INDEX_PATH = "/llms.txt"
PAGES_PATH = "/docs/{page:path}.md"

_REPOSITORY = "https://github.com/phoenix-video/phoenix/blob/HEAD/"
_LINK = re.compile(r"(\]\()(?!\w+:|#|/)([^)#\s]+)")
_SECTIONS = {"": "Use", "operations": "Run", "decisions": "Optional"}
_HEAD = """\
# Phoenix

> A self-hosted video-generation backend. A client posts a reel, which is a list of clip prompts, and follows the job
> until its video is ready.

- [OpenAPI 3.1](/openapi.json): every operation, for generators of clients
- [OpenAPI 3.2](/openapi-3.2.json): the same, with the event streams and the webhooks
"""


@dataclass(frozen=True)
class DocsPage:
    """A page of the documentation: its path in the folder, such as `operations/webhooks.md`, and its Markdown."""

    name: str
    text: str

    @property
    def title(self) -> str:
        return self.text.partition("\n")[0].removeprefix("# ")

    @property
    def summary(self) -> str:
        """Its first sentence, without links and marks; empty if it begins with something else than a sentence."""
        paragraph = " ".join(self.text.partition("\n")[2].strip().partition("\n\n")[0].split())
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", paragraph)
        found = re.match(r"[A-Z`][^|]*?[.:](?= |$)", plain)
        return found[0].rstrip(".:") if found else ""


async def show_index(_request: Request) -> Response:
    """Serves the list of pages in the form of llmstxt.org."""
    return PlainTextResponse(render_index(read_pages()), media_type="text/plain; charset=utf-8")


async def show_page(request: Request) -> Response:
    """Serves the Markdown of a page. Raises `NotFound`."""
    page = read_pages().get(f"{request.path_params['page']}.md")
    if page is None:
        raise NotFound("There is no such page; /llms.txt lists them.")
    return PlainTextResponse(page.text, media_type="text/markdown; charset=utf-8")


@cache
def read_pages() -> Mapping[str, DocsPage]:
    """Every page by its name, with links that work where it is served."""
    folder = docs_folder()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    return {name: DocsPage(name, rewrite_links(name, (folder / name).read_text(), names)) for name in names}


def docs_folder() -> Path:
    """`docs/` of a checkout, or the copy of its pages inside an installed package."""
    package = Path(str(files("phoenix")))
    checkout = package.parent.parent / "docs"
    return checkout if (checkout / "api.md").exists() else package / "_docs"


def rewrite_links(name: str, text: str, names: list[str]) -> str:
    """Links to other pages stay as they are; a link to another file of the source leads to the repository."""
    folder = PurePosixPath("docs", name).parent

    def rewrite(match: re.Match[str]) -> str:
        target = normpath(str(folder / match[2]))
        is_page = target.removeprefix("docs/") in names
        return match[0] if is_page else f"{match[1]}{_REPOSITORY}{target}"

    return _LINK.sub(rewrite, text)


def render_index(pages: Mapping[str, DocsPage]) -> str:
    lines = [_HEAD]
    for folder, heading in _SECTIONS.items():
        lines.append(f"## {heading}\n")
        here = [page for name, page in pages.items() if PurePosixPath(name).parent == PurePosixPath(folder)]
        lines += [f"- [{page.title}](/docs/{page.name}){f': {page.summary}' if page.summary else ''}" for page in here]
        lines.append("")
    return "\n".join(lines)
