"""Code that comes with the files of a model is refused, and none of it runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fixtures.open_engine import OpenEngine
from fixtures.renders import make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import FailureCode, TaskFailed


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Is there once the code ran."""
    return tmp_path / "it-ran"


@pytest.fixture
def folder(tiny_pipelines: TinyPipelines, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipelines("wan"), tmp_path / "copy"))


def change(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def bring_a_pipeline(folder: Path, code: str) -> None:
    (folder / "theirs.py").write_text(f"{code}\nfrom diffusers import WanPipeline\nclass Theirs(WanPipeline): ...")
    change(folder / "model_index.json", _class_name=["theirs", "Theirs"])


def bring_a_component(folder: Path, code: str) -> None:
    source = f"{code}\nfrom diffusers import WanTransformer3DModel\nclass Theirs(WanTransformer3DModel): ..."
    (folder / "transformer" / "theirs.py").write_text(source)
    change(folder / "model_index.json", transformer=["theirs", "Theirs"])


@pytest.mark.parametrize("bring", [bring_a_pipeline, bring_a_component])
def test_code_in_a_models_folder_is_refused_and_does_not_run(bring, folder, trace, tmp_path):
    bring(folder, f"open({str(trace)!r}, 'w').close()")
    assert failure_of(tiny_spec("wan", folder, tmp_path)) is FailureCode.MODEL_UNAVAILABLE
    assert not trace.exists()


def failure_of(model: ModelSpec) -> FailureCode:
    engine = OpenEngine()
    with pytest.raises(TaskFailed) as failed:
        engine.render(ClipInputs(make_clip(), model), NullObserver())
    engine.close()
    return failed.value.code
