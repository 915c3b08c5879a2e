"""The documents promise only what is there: commands, settings, links, and packages in the diagram."""

import itertools
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from fixtures.repository import REPOSITORY, list_files, list_packages, read_layers
from phoenix.api.app import create_app
from phoenix.cli.app import COMMANDS, load_command
from phoenix.frames.front.web import FRONT_PATHS
from phoenix.settings import Settings

DOCUMENTS = list_files("*.md")
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()
MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.MULTILINE))


def layers_of(diagram: str) -> list[set[str]]:
    """Each `subgraph` of the diagram, from the top, as the set of its packages."""
    return [set(re.findall(r"^\s*(\w+)\[", body, re.MULTILINE)) for body in subgraphs_of(diagram).values()]


def subgraphs_of(diagram: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*subgraph (\w+).*?\n(.*?)^\s*end$", diagram, re.MULTILINE | re.DOTALL))


@pytest.fixture
def diagram() -> str:
    match = re.search(r"```mermaid\n(flowchart TD\n.*?)```", ARCHITECTURE, re.DOTALL)
    assert match
    return match[1]


def test_the_diagram_has_the_layers_of_the_import_contract(diagram: str) -> None:
    assert layers_of(diagram) == read_layers()


def test_the_arrows_lead_from_each_layer_to_the_next(diagram: str) -> None:
    names = list(subgraphs_of(diagram))
    arrows = re.findall(r"^\s*(\w+) --> (\w+)$", diagram, re.MULTILINE)

    assert arrows == list(itertools.pairwise(names))


def test_every_package_is_explained_once() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.MULTILINE)

    assert sorted(explained) == sorted(list_packages())


def test_the_readme_starts_with_the_two_commands() -> None:
    readme = (REPOSITORY / "README.md").read_text()

    assert re.findall(r"^make ([a-z-]+)", readme, re.MULTILINE)[:2] == ["demo", "test"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]+)", document.read_text(), re.MULTILINE))

    assert named <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_into_the_repository_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


CLIENT_VARIABLES = {"PHOENIX_CONFIG", "PHOENIX_URL", "PHOENIX_API_KEY", "PHOENIX_OWNER"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_setting_that_is_named_exists(document: Path) -> None:
    example = (REPOSITORY / "deploy" / "env.example").read_text()
    known = set(re.findall(r"PHOENIX_\w+", example)) | CLIENT_VARIABLES
    named = set(re.findall(r"PHOENIX_[A-Z0-9_]*[A-Z0-9]", document.read_text()))

    assert named <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_route_that_is_named_exists(document: Path) -> None:
    paths = re.findall(r"/(?:v1|health)(?:/[\w{}.$-]+)*", document.read_text())
    # The file of the gRPC protocol is in a folder `v1`.
    named = {route_shape(path) for path in paths if not path.endswith(".proto")}

    assert named - {"/v1"} <= documented_routes()


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *list_files("deploy/*")], ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_every_command_that_is_named_exists(document: Path) -> None:
    named = re.findall(
        r"(?:`|^|: |&& )phoenix ([a-z]+)(?: ([a-z]+(?:-[a-z]+)*)\b)?", document.read_text(), re.MULTILINE
    )

    assert [words for words in named if not is_command(*words)] == []


def test_every_command_of_compose_exists() -> None:
    services = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())["services"]
    commands = [
        service["command"]
        for service in services.values()
        if "command" in service and service["image"] == "phoenix-api"
    ]
    given = [(*command, "")[:2] for command in commands]

    assert [words for words in given if not is_command(*words)] == []


@cache
def documented_routes() -> set[str]:
    return {route_shape(path) for path in [*create_app(Settings()).openapi()["paths"], *FRONT_PATHS]}


def route_shape(path: str) -> str:
    """With every id alike: `{job_id}`, `JOB_ID`, `$ID` and `${jobId}`."""
    return re.sub(r"/(?:\{\w+\}|[A-Z_]+|\$\w+|\$\{\w+\})", "/ID", path).rstrip(".")


def is_command(name: str, subcommand: str = "") -> bool:
    if name not in COMMANDS:
        return False
    command = load_command(name)
    # What follows a command without subcommands is an argument of it, or the next word of the sentence.
    if not hasattr(command, "commands"):
        return True
    return subcommand in command.commands or (not subcommand and command.invoke_without_command)


def test_every_decision_has_its_five_parts() -> None:
    parts = ["Context", "Decision", "Consequences", "Alternatives", "Enforced by"]
    decisions = list_files("docs/decisions/*.md")

    assert decisions
    for decision in decisions:
        assert re.findall(r"^## (.+)$", decision.read_text(), re.MULTILINE) == parts, decision.name


def test_every_decision_fits_on_one_page() -> None:
    lengths = {path.name: len(path.read_text().split()) for path in list_files("docs/decisions/*.md")}

    assert {name: words for name, words in lengths.items() if words > 600} == {}


def test_every_page_of_operations_is_short() -> None:
    lengths = {path.name: len(path.read_text().split()) for path in list_files("docs/operations/*.md")}

    assert lengths
    assert {name: words for name, words in lengths.items() if words > 900} == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_test_that_is_named_exists(document: Path) -> None:
    folders = "|".join(path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir())
    named = re.findall(rf"`(?:tests/)?((?:{folders})/[\w/]*test_\w+\.py)`", document.read_text())

    assert [name for name in named if not (REPOSITORY / "tests" / name).exists()] == []
