"""`phoenix-video` in an environment without the server: its wheel, and each example of its README as written."""

import email
import json
import re
import shutil
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import phoenix.client
from fixtures.client_tools import Tools, install_once, run
from fixtures.repository import REPOSITORY

SOURCE = REPOSITORY / "clients" / "python"
README = (SOURCE / "README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CONSTRAINTS = REPOSITORY / "tests" / "constraints.txt"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is made from the source distribution, and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    checkout = folder / "checkout" / "clients" / "python"
    shutil.copytree(SOURCE, checkout, ignore=shutil.ignore_patterns("client", "contract", "[cei]*.py", "dist"))
    (folder / "checkout" / "src").symlink_to(REPOSITORY / "src")
    hatch = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    run([*hatch, "--target", "sdist"], checkout, Path(sys.executable).parent)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    run([*hatch, "--target", "wheel"], unpacked, Path(sys.executable).parent)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def empty_environment() -> Tools:
    """With httpx and pydantic alone, in the versions of the other tests."""

    def install(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pinned = [line for line in CONSTRAINTS.read_text().split() if re.match(r"(httpx|pydantic)==", line)]
        run([*pip, *pinned], folder, folder / "bin")

    return Tools(install_once("python-client", [CONSTRAINTS], install) / "bin")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a program has on its path."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def run_python(environment: Tools, installed: Path, code: str, folder: Path, *, check: bool = True) -> str:
    (folder / "program.py").write_text(code)
    command = ["/usr/bin/env", "-u", "PYTHONPATH", f"PYTHONPATH={installed}", "python", "program.py"]
    return environment.run(*command, folder=folder, check=check)


def test_the_wheel_needs_httpx_and_pydantic_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        (name,) = [name for name in packed.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_bytes(packed.read(name))

        assert [re.split(r"\W", line)[0] for line in metadata.get_all("Requires-Dist", [])] == ["httpx", "pydantic"]
        assert metadata["Name"] == "phoenix-video"
        assert "phoenix_video/py.typed" in packed.namelist()


def test_the_wheel_has_what_the_server_has(wheel: Path) -> None:
    server = REPOSITORY / "src" / "phoenix"
    with zipfile.ZipFile(wheel) as packed:
        made = {
            name for name in packed.namelist() if name.startswith(("phoenix_video/client/", "phoenix_video/contract/"))
        }

        assert made == {
            f"phoenix_video/{path.relative_to(server).as_posix()}"
            for part in ("client", "contract")
            for path in (server / part).rglob("*.py")
        }
        assert packed.read("phoenix_video/contract/edits.py").decode() == (
            server / "contract/edits.py"
        ).read_text().replace("from phoenix.", "from phoenix_video.")


def test_the_client_needs_nothing_of_the_server(empty_environment: Tools, installed: Path, tmp_path: Path) -> None:
    code = """
import sys, importlib.util
import phoenix_video
print(sorted(phoenix_video.__all__))
print(importlib.util.find_spec("phoenix"), [name for name in sys.modules if name.partition(".")[0] == "phoenix"])
"""
    names, server = run_python(empty_environment, installed, code, tmp_path).strip().splitlines()

    assert server == "None []"
    assert [name for name in phoenix.client.__all__ if f"'{name}'" not in names] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_readme_runs_as_written(
    empty_environment: Tools, installed: Path, live_url: str, tmp_path: Path, example: str
) -> None:
    code = example.replace("http://127.0.0.1:8080", live_url).replace("phx_…", "none")

    said = run_python(empty_environment, installed, code, tmp_path)

    if "reel.mp4" in example:
        assert (tmp_path / "reel.mp4").read_bytes()[4:8] == b"ftyp"
    if 'duration_s": 9999' in example:
        assert said.startswith("/clips/0/duration_s ")
        assert said.rstrip().endswith("False")
    else:
        assert "job.succeeded" in said


def test_the_notebook_runs_as_written(empty_environment: Tools, installed: Path, live_url: str, tmp_path: Path) -> None:
    """Its cells in order, as one program: Jupyter would bring a hundred packages."""
    notebook = json.loads((REPOSITORY / "examples" / "reel.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    shown = "print(play(job.id)._repr_html_())"
    code = (
        "\n".join([*cells[:-1], shown, cells[-1]]).replace("http://127.0.0.1:8080", live_url).replace("phx_…", "none")
    )

    said = run_python(empty_environment, installed, code, tmp_path)

    assert said.count("job.succeeded") == 2
    assert f'src="{live_url}/v1/jobs/' in said
    assert (tmp_path / "reel.mp4").read_bytes()[4:8] == b"ftyp"
