"""The catalog as clients see it."""

from phoenix.api.routes.models import view_model
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Parallelism
from phoenix.contract import Model


def test_a_model_shows_its_lengths_in_seconds_at_its_own_frame_rate():
    model = view_model(load_catalog().get("cogvideox-2b"), unserved_reason="no worker")
    assert (model.duration_s.minimum, model.duration_s.maximum, model.duration_s.default) == (9 / 8, 49 / 8, 49 / 8)


def test_a_model_shows_what_admission_would_fill_in():
    spec = load_catalog().get("wan-2.2-t2v-a14b")
    model = view_model(spec, unserved_reason=None)
    assert (model.default_resolution, model.default_aspect_ratio) == ("720p", "16:9")
    assert (model.steps.default, model.guidance_scale.default, model.fps.default) == (40, 4, 16)
    assert model.is_served


def test_the_draft_model_says_that_it_is_one():
    model = view_model(load_catalog().get("animatic"), unserved_reason=None)
    assert model.is_draft
    assert model.duration_s.maximum == 30


def test_a_model_says_whether_its_clips_have_sound():
    made = {
        model_id: view_model(load_catalog().get(model_id), unserved_reason=None) for model_id in ("veo-3.1", "animatic")
    }
    assert {model_id: model.makes_sound for model_id, model in made.items()} == {"veo-3.1": True, "animatic": False}


def test_a_model_shows_its_license_and_what_its_weights_need():
    model = view_model(load_catalog().get("wan-2.1-t2v-1.3b"), unserved_reason=None)
    assert model.license is not None
    assert (model.license.name, model.memory_bytes, model.download_bytes) == (
        "Apache-2.0",
        14_700_000_000,
        28_900_000_000,
    )


def test_a_model_shows_on_how_many_devices_a_clip_is_made():
    spec = load_catalog().get("wan-2.1-t2v-1.3b")
    shared = spec.model_copy(update={"parallelism": Parallelism(context=2, guidance=True)})
    assert [view_model(each, unserved_reason=None).devices for each in (spec, shared)] == [1, 4]


def test_a_model_shows_the_pixels_of_each_of_its_sizes():
    spec = load_catalog().get("hunyuanvideo-1.5-480p-i2v")
    sizes = {(size.resolution, size.aspect_ratio): (size.width, size.height) for size in _view(spec).sizes}
    assert sizes["480p", "9:16"] == (480, 832)
    assert len(sizes) == len(spec.size.resolutions) * len(spec.size.aspect_ratios)


def test_a_model_that_no_worker_serves_says_why():
    model = view_model(load_catalog().get("animatic"), unserved_reason="no live worker")
    assert (model.is_served, model.unserved_reason) == (False, "no live worker")


def _view(spec: ModelSpec) -> Model:
    return view_model(spec, unserved_reason=None)
