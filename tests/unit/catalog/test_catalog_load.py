"""The built-in catalog, and an operator's file over it."""

from importlib.resources import files
from pathlib import Path

import pytest

from phoenix.catalog.catalog import BUILTIN, CatalogError, load_catalog
from phoenix.errors import NotFound

NEW_MODEL = """
[[models]]
id = "mine"
title = "Mine"
engine = "diffusers"
source = "/models/mine"
fps = { minimum = 8, maximum = 24, default = 16 }
steps = { minimum = 1, maximum = 50, default = 20 }
guidance_scale = { minimum = 1, maximum = 10, default = 5 }
frames = { multiple = 4, offset = 1, minimum = 5, maximum = 81, default = 81 }
size = { resolutions = ["480p"], default_resolution = "480p", aspect_ratios = ["1:1"], default_aspect_ratio = "1:1" }
"""


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str) -> Path:
        file = tmp_path / "catalog.toml"
        file.write_text(text)
        return file

    return write_file


def test_the_built_in_catalog_begins_with_the_draft_model():
    first, *others = load_catalog()
    assert (first.id, first.is_draft) == ("animatic", True)
    assert not any(model.is_draft for model in others)


def test_every_built_in_diffusers_model_names_a_hub_repository():
    sources = [model.source for model in load_catalog() if model.engine == "diffusers"]
    assert sources
    assert all(source and source.count("/") == 1 for source in sources)


def test_every_built_in_model_with_weights_names_their_license():
    assert all((model.license is not None) == (model.engine == "diffusers") for model in load_catalog())


def test_every_file_of_built_in_models_is_loaded():
    assert {file.name for file in files("phoenix.catalog").joinpath("builtin").iterdir()} == {
        f"{family}.toml" for family in BUILTIN
    }


@pytest.mark.parametrize("model", list(load_catalog()), ids=lambda model: model.id)
def test_each_default_size_of_a_built_in_model_is_one_it_can_make(model):
    assert all(side % model.size.multiple == 0 for size in model.size.exact.values() for side in size)
    assert model.memory_bytes is not None or model.engine in ("animatic", "veo")


def test_a_new_id_adds_a_model_after_the_built_in_ones(write):
    catalog = load_catalog(write(NEW_MODEL))
    assert [model.id for model in catalog][-1] == "mine"
    assert len(catalog) == len(load_catalog()) + 1


def test_a_known_id_changes_only_the_fields_it_names(write):
    changed = load_catalog(
        write('[[models]]\nid = "ltx-video"\nsource = "/models/ltx"\nsteps = { default = 8 }\n')
    ).get("ltx-video")
    built_in = load_catalog().get("ltx-video")
    assert changed.source == "/models/ltx"
    assert (changed.steps.default, changed.steps.maximum) == (8, built_in.steps.maximum)
    assert changed.frames == built_in.frames


def test_a_wrong_field_is_refused_with_the_entry_and_the_field_named(write):
    with pytest.raises(CatalogError, match=r"catalog.toml: model 'mine': steps\.default"):
        load_catalog(write(NEW_MODEL.replace("default = 20", 'default = "many"')))


def test_a_misspelt_field_is_refused(write):
    with pytest.raises(CatalogError, match="'ltx-video': sorce"):
        load_catalog(write('[[models]]\nid = "ltx-video"\nsorce = "/models/ltx"\n'))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("default = 81", "default = 80"), r"frames: .*default 80 is not 4 \* k \+ 1"),
        (("default = 20", "default = 99"), "steps: .*default 99 is not between 1 and 50"),
        (('default_resolution = "480p"', 'default_resolution = "720p"'), "size: .*720p is not among resolutions"),
        (('default_aspect_ratio = "1:1"', 'default_aspect_ratio = "4:3"'), "size: .*4:3 is not among aspect_ratios"),
        (('source = "/models/mine"', ""), "needs a source"),
        (
            ('source = "/models/mine"', 'source = "a/b"\nconditions = { mask = { minimum = 2 } }'),
            "conditions.mask: .*minimum 2 is more than maximum 1",
        ),
        (
            ('source = "/models/mine"', 'source = "a/b"\nconditions = { first_frame = { shortest_s = 2 } }'),
            "a picture has no length",
        ),
        (
            ('source = "/models/mine"', 'source = "a/b"\nconditions = { mask = { overlap_s = 2 } }'),
            "conditions.mask.overlap_s: a clip only continues a source_video",
        ),
        (("size = { ", 'size = { exact = { "720p 1:1" = [64, 64] }, '), "'720p 1:1' names no pair"),
        (("size = { ", 'size = { multiple = 16, exact = { "480p 1:1" = [60, 60] }, '), "not in multiples of 16"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(write, change, complaint):
    with pytest.raises(CatalogError, match=complaint):
        load_catalog(write(NEW_MODEL.replace(*change)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("models = 3", r"table \[\[models\]\]"),
        ('[other]\nx = 1\n[[models]]\nid = "a"', r"table \[\[models\]\]"),
        ("[[models]", "catalog.toml: "),
        ('[[models]]\ntitle = "nameless"', "model number 1 has no id"),
        (NEW_MODEL + NEW_MODEL, "'mine' is there twice"),
    ],
)
def test_a_file_that_is_no_list_of_models_is_refused(write, text, complaint):
    with pytest.raises(CatalogError, match=complaint):
        load_catalog(write(text))


def test_a_catalog_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="nowhere"):
        load_catalog(tmp_path / "nowhere.toml")


def test_getting_an_unknown_model_names_the_known_ones():
    catalog = load_catalog()
    assert catalog.find("sora") is None
    assert "sora" not in catalog
    with pytest.raises(NotFound, match="there are: animatic, wan"):
        catalog.get("sora")
