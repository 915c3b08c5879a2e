"""What a release needs: one version everywhere, a section of the changelog, and checks before anything is published."""

import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from packaging.version import Version

from fixtures.repository import REPOSITORY, read_pyproject
from phoenix import RELEASE

CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text()
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
JOBS: dict[str, Any] = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "release.yml").read_text())["jobs"]
PUBLISHING = {name: job for name, job in JOBS.items() if name.startswith("publish-")}
RELEASED = (
    "## Unreleased\n\n## 1.2.3 - 2027-01-31\n\n### Added\n- Sound.\n\n## 1.2.2 - 2027-01-01\n\n### Fixed\n- Noise.\n"
)


@pytest.fixture
def find_notes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(REPOSITORY / "deploy")
    import release_notes  # noqa: PLC0415 - a script of the folder that is not a package

    return release_notes.find_notes


def sections(level: str, text: str) -> dict[str, str]:
    parts = re.split(rf"^{level} (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_changelog_starts_with_what_is_not_released() -> None:
    assert next(iter(sections("##", CHANGELOG))) == "Unreleased"


def test_the_changelog_has_a_date_for_every_release_and_the_newest_first() -> None:
    headings = list(sections("##", CHANGELOG))[1:]
    matches = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", heading) for heading in headings]
    assert all(matches), headings

    versions = [Version(match[1]) for match in matches if match]
    assert versions == sorted(set(versions), reverse=True)


def test_the_changelog_sorts_its_entries_by_kind() -> None:
    for heading, text in sections("##", CHANGELOG).items():
        kinds = sections("###", text)
        assert list(kinds) == [kind for kind in KINDS if kind in kinds], heading
        assert all(body.strip().startswith("- ") for body in kinds.values()), heading


def test_a_build_without_git_has_the_release_of_the_source() -> None:
    client = tomllib.loads((REPOSITORY / "clients" / "python" / "pyproject.toml").read_text())
    for project in (read_pyproject(), client):
        assert project["tool"]["hatch"]["version"]["fallback-version"] == f"{RELEASE}.dev0"


def test_the_javascript_client_has_the_release_of_the_source() -> None:
    package = json.loads((REPOSITORY / "clients" / "js" / "package.json").read_text())

    assert package["version"] == RELEASE


def test_both_clients_are_built_and_published() -> None:
    built = [step.get("run", "") for step in JOBS["packages"]["steps"]]
    (published,) = [step["run"] for step in JOBS["publish-npm"]["steps"] if "npm publish" in step.get("run", "")]

    assert {"make packages", 'make npm-package VERSION="${GITHUB_REF_NAME#v}"'} <= set(built)
    assert "--outdir dist clients/python" in (REPOSITORY / "Makefile").read_text()
    assert "--provenance" in published


def test_the_notes_of_a_tag_are_its_section_of_the_changelog(find_notes) -> None:
    assert find_notes("v1.2.3", RELEASED, "1.2.3") == "### Added\n- Sound."
    assert find_notes("v1.2.3rc1", RELEASED, "1.2.3") == "### Added\n- Sound."


@pytest.mark.parametrize(
    ("tag", "release", "missing"),
    [
        ("1.2.3", "1.2.3", "no tag of a release"),
        ("v1.2", "1.2.3", "no tag of a release"),
        ("v1.2.2", "1.2.3", "belongs to 1.2.3"),
        ("v1.3.0", "1.3.0", "needs the section"),
    ],
)
def test_a_tag_that_the_source_is_not_ready_for_is_refused(find_notes, tag: str, release: str, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        find_notes(tag, RELEASED, release)


def test_a_release_runs_the_checks_of_ci() -> None:
    assert JOBS["check"]["uses"] == "./.github/workflows/ci.yml"


def test_a_release_is_audited_and_comes_with_a_list_of_its_contents() -> None:
    commands = [step.get("run", "") for step in JOBS["packages"]["steps"]]
    (create,) = [step["run"] for step in JOBS["publish-release"]["steps"] if "gh release create" in step.get("run", "")]

    assert commands.index("make audit") < commands.index("make packages")
    assert "make sbom" in commands
    assert "artifacts/sbom/*" in create


def test_what_is_published_is_signed() -> None:
    for name in ("publish-images", "publish-release"):
        assert any(step.get("uses", "").startswith("actions/attest@") for step in JOBS[name]["steps"]), name
        assert {"id-token", "attestations"} <= JOBS[name]["permissions"].keys(), name


def test_nothing_is_published_before_everything_is_checked() -> None:
    assert PUBLISHING
    for name in PUBLISHING:
        assert {"check", "packages", "images"} <= needed_by(name), name


def test_only_jobs_that_publish_may_write_and_each_waits_for_approval() -> None:
    writing = {name for name, job in JOBS.items() if "write" in job.get("permissions", {}).values()}

    assert writing
    assert writing <= PUBLISHING.keys()
    assert {job["environment"] for job in PUBLISHING.values()} == {"release"}


def test_every_image_that_can_be_run_is_built_and_published() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL)
    targets = {name for name, body in stages if re.search(r"^CMD ", body, re.MULTILINE)}

    for job in ("images", "publish-images"):
        assert set(JOBS[job]["strategy"]["matrix"]["target"]) == targets


def needed_by(name: str) -> set[str]:
    direct = JOBS[name].get("needs", [])
    return set(direct).union(*(needed_by(each) for each in direct))
