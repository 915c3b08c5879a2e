"""The files that GitHub and pre-commit read: they name what is there, and ask for no more rights than they need."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.repository import REPOSITORY, list_files, read_pyproject

GITHUB = REPOSITORY / ".github"
WORKFLOWS = list_files(".github/workflows/*.yml")
FORMS = [path for path in list_files(".github/ISSUE_TEMPLATE/*.yml") if path.name != "config.yml"]
# A folder has dependencies of an ecosystem if it has one of these.
MANIFESTS = {
    "pip": ("pyproject.toml", "constraints.txt", "requirements.txt", "api.txt"),
    "npm": ("package.json",),
    "docker": ("Dockerfile", "postgres.yaml"),
    "docker-compose": ("compose.yaml",),
    "github-actions": (".github/workflows",),
}


@cache
def read(path: Path) -> Any:
    # BaseLoader leaves the key `on` a word, which YAML 1.1 reads as true.
    return yaml.load(path.read_text(), yaml.BaseLoader)


def steps_of(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in read(workflow)["jobs"].values() for step in job.get("steps", [])]


def name_of(path: Path) -> str:
    return path.name


def test_ci_calls_the_script_that_has_to_pass() -> None:
    assert ".ci/run" in [step.get("run") for step in steps_of(GITHUB / "workflows" / "ci.yml")]


def test_ci_runs_on_every_python_that_the_package_promises() -> None:
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(read_pyproject()["project"]["classifiers"]))
    (job,) = read(GITHUB / "workflows" / "ci.yml")["jobs"].values()

    assert job["strategy"]["matrix"]["python"] == promised


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_a_workflow_may_only_read_unless_a_job_says_otherwise(workflow: Path) -> None:
    assert read(workflow)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_a_checkout_leaves_no_credentials_behind(workflow: Path) -> None:
    checkouts = [step for step in steps_of(workflow) if step.get("uses", "").startswith("actions/checkout@")]

    assert checkouts
    assert [step.get("with", {}).get("persist-credentials") for step in checkouts] == ["false"] * len(checkouts)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_every_action_is_pinned_to_a_commit_and_says_of_which_version(workflow: Path) -> None:
    """A tag can be moved to other code, which would run with the rights of the job."""
    used = re.findall(r"uses: ([^.\s].*)", workflow.read_text())

    assert used
    assert [
        action for action in used if not re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    ] == []


def test_known_vulnerabilities_and_other_versions_are_looked_at_each_week() -> None:
    workflow = read(GITHUB / "workflows" / "dependencies.yml")
    commands = [step["run"] for step in steps_of(GITHUB / "workflows" / "dependencies.yml") if "run" in step]

    assert workflow["on"]["schedule"]
    assert commands == ["make audit", "make test-${{ matrix.versions }}"]
    assert workflow["jobs"]["versions"]["strategy"]["matrix"]["versions"] == ["lowest", "newest"]


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_an_issue_form_asks_every_question_once(form: Path) -> None:
    questions = [part for part in read(form)["body"] if part["type"] != "markdown"]
    ids = [part["id"] for part in questions]

    assert {"name", "description", "body"} <= read(form).keys()
    assert all(part["attributes"]["label"] for part in questions)
    assert sorted(ids) == sorted(set(ids))
    assert any(part.get("validations", {}).get("required") == "true" for part in questions)


def test_dependency_updates_look_into_folders_that_have_dependencies() -> None:
    for update in read(GITHUB / "dependabot.yml")["updates"]:
        for directory in update.get("directories") or [update["directory"]]:
            folder = REPOSITORY / directory.strip("/")
            manifests = MANIFESTS[update["package-ecosystem"]]
            assert any((folder / name).exists() for name in manifests), (update["package-ecosystem"], directory)


def test_every_folder_with_npm_packages_gets_updates() -> None:
    folders = {f"/{path.parent.relative_to(REPOSITORY)}" for path in list_files("*package.json")}
    updates = read(GITHUB / "dependabot.yml")["updates"]
    updated = {each for update in updates if update["package-ecosystem"] == "npm" for each in update["directories"]}

    assert updated == folders


def test_every_path_with_an_owner_exists() -> None:
    lines = [line for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line and not line.startswith("#")]
    paths = [line.split()[0] for line in lines]

    assert paths[0] == "*"
    assert [path for path in paths[1:] if not (REPOSITORY / path.strip("/")).exists()] == []


def test_the_hooks_call_the_tools_of_the_tests() -> None:
    (source,) = read(REPOSITORY / ".pre-commit-config.yaml")["repos"]
    commands = [hook["entry"].split() for hook in source["hooks"]]
    tools = {word.removeprefix(".venv/bin/") for words in commands for word in words if word.startswith(".venv/bin/")}
    targets = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    declared = {re.match(r"[\w-]+", line)[0] for line in read_pyproject()["project"]["optional-dependencies"]["dev"]}

    assert source["repo"] == "local"
    assert tools == {"ruff"}
    assert tools <= declared
    assert {words[-1] for words in commands if words[0] == "make"} <= targets | {".venv/.installed-dev"}
