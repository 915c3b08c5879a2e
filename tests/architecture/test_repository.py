"""What must not get into the repository."""

import re

import pytest

from fixtures.repository import REPOSITORY, list_files

# Built from parts, so that this file does not find itself.
PRIVATE_PATH = re.compile(r"(?<![\w.}/-])/(?:" + "|".join(["home", "Users", "root", "work"]) + r")/\w")
REGISTRY_HOST = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|deb\.debian\.org)")
# On the package index, the name of Phoenix belongs to another project. An extra of it, or an installation by its name.
FOREIGN_PACKAGE = re.compile(
    r"phoenix\[[a-z{]|install\s+(?:-\S+\s+)*['\"]?(?:arize-)?phoenix(?![\w./-])|" + "[Aa]ri" + "ze"
)


def texts() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in list_files():
        try:
            found[str(path.relative_to(REPOSITORY))] = path.read_text()
        except UnicodeDecodeError:
            continue
    return found


def test_no_file_names_a_path_of_one_machine() -> None:
    assert {name: match[0] for name, text in texts().items() if (match := PRIVATE_PATH.search(text))} == {}


def test_no_file_names_a_package_registry() -> None:
    here = "tests/architecture/test_repository.py"
    found = {name: match[0] for name, text in texts().items() if (match := REGISTRY_HOST.search(text))}

    assert {name: host for name, host in found.items() if name != here} == {}


def test_no_file_tells_an_operator_to_install_another_project() -> None:
    # A project may name its own extras, and a sentence may say what installs Phoenix. A vocabulary has every word.
    vocabulary = "src/phoenix/embedding/tokenizer/tokenizer.json"
    found = {
        name: match[0]
        for name, text in texts().items()
        if name not in {"pyproject.toml", "tests/architecture/test_repository.py", vocabulary}
        and (match := FOREIGN_PACKAGE.search(text))
    }

    assert found == {}


@pytest.mark.parametrize(
    "text", ["phoenix[media]", "phoenix[{extra}]", "pip install phoenix", "uv pip install -U 'phoenix'"]
)
def test_a_name_that_belongs_to_another_project_is_found(text: str) -> None:
    assert FOREIGN_PACKAGE.search(text)


@pytest.mark.parametrize("text", ["pip install '.[media]'", "install './phoenix-1.0-py3-none-any.whl[s3]'"])
def test_an_installation_of_this_project_is_none_of_another(text: str) -> None:
    assert not FOREIGN_PACKAGE.search(text)


def test_no_file_is_larger_than_a_megabyte() -> None:
    sizes = {str(path.relative_to(REPOSITORY)): path.stat().st_size for path in list_files()}

    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}
