"""Prints the changelog's section of a tag such as v1.2.3. Fails if this source is not ready for that release."""

import re
import sys
from pathlib import Path

from phoenix import RELEASE

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"
# A release candidate has the section of its release.
TAG = re.compile(r"v(\d+\.\d+\.\d+)(?:rc\d+)?")


def find_notes(tag: str, changelog: str, release: str) -> str:
    """The text below the heading of the version. Raises `ValueError`, with what is missing, if the tag does not fit."""
    match = TAG.fullmatch(tag)
    if match is None:
        raise ValueError(f"{tag} is no tag of a release: write v1.2.3 or v1.2.3rc1")
    if match[1] != release:
        raise ValueError(f"{tag} does not fit this source, which belongs to {release}: see phoenix.RELEASE")
    heading = rf"^## {re.escape(match[1])} - \d{{4}}-\d\d-\d\d$"
    section = re.search(heading + r"\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        raise ValueError(f"CHANGELOG.md needs the section `## {match[1]} - YYYY-MM-DD`, with at least one entry")
    return section[1].strip()


if __name__ == "__main__":
    try:
        sys.stdout.write(find_notes(sys.argv[1], CHANGELOG.read_text(), RELEASE) + "\n")
    except ValueError as error:
        sys.exit(str(error))
