"""Which class runs a model, and why some are refused before anything of the weights is read."""

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.engine.backends.diffusers.classes.pipeline_class import get_pipeline_class
from phoenix.errors import FailureCode, TaskFailed


def class_of(folder: Path, *, pipeline: str | None = None, **indexes: Any) -> type:
    for name, class_name in indexes.items():
        (folder / f"{name}.json").write_text(json.dumps({"_class_name": class_name}))
    model = load_catalog().get("ltx-video").model_copy(update={"pipeline": pipeline, "source": str(folder)})
    return get_pipeline_class(diffusers, model, folder)


def test_the_class_is_the_one_of_the_entry_or_else_the_one_of_the_folder(tmp_path):
    assert class_of(tmp_path, model_index="WanPipeline") is diffusers.WanPipeline
    assert class_of(tmp_path, pipeline="LTXPipeline", model_index="WanPipeline") is diffusers.LTXPipeline


def test_the_class_of_a_modular_folder_is_the_one_of_its_own_index(tmp_path):
    assert class_of(tmp_path, modular_model_index="LTX25ModularPipeline") is diffusers.LTX25ModularPipeline


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [
        ({"model_index": "NoSuchPipeline"}, "diffusers has no pipeline 'NoSuchPipeline'"),
        ({"model_index": "WanTransformer3DModel"}, "diffusers has no pipeline 'WanTransformer3DModel'"),
        ({"model_index": ["theirs", "Theirs"]}, "asks for code of its own"),
        ({"modular_model_index": "ModularPipeline"}, "ModularPipeline has no blocks of its own"),
        ({}, "model_index.json is missing"),
    ],
)
def test_a_class_that_cannot_be_run_is_refused_by_its_name(tmp_path, wishes, complaint):
    with pytest.raises(TaskFailed, match=complaint) as failed:
        class_of(tmp_path, **wishes)
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE
