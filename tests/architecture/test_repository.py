"""What must not get into the repository."""

import re

from fixtures.repository import REPOSITORY, list_files

# Built from parts, so that this file does not find itself.
PRIVATE_PATH = re.compile(r"(?<![\w.}/-])/(?:" + "|".join(["home", "Users", "root", "work"]) + r")/\w")
REGISTRY_HOST = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|deb\.debian\.org)")


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


def test_no_file_is_larger_than_a_megabyte() -> None:
    sizes = {str(path.relative_to(REPOSITORY)): path.stat().st_size for path in list_files()}

    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}
