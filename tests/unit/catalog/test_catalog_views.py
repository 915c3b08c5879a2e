"""The catalog as clients see it."""

from phoenix.api.routes.models import view_model
from phoenix.catalog.model import load_catalog


def test_a_model_shows_its_lengths_in_seconds_at_its_own_frame_rate():
    model = view_model(load_catalog().get("cogvideox-2b"), is_served=False)
    assert (model.duration_s.minimum, model.duration_s.maximum, model.duration_s.default) == (9 / 8, 49 / 8, 49 / 8)


def test_a_model_shows_what_admission_would_fill_in():
    spec = load_catalog().get("wan-2.2-t2v-a14b")
    model = view_model(spec, is_served=True)
    assert (model.default_resolution, model.default_aspect_ratio) == ("720p", "16:9")
    assert (model.steps.default, model.guidance_scale.default, model.fps.default) == (40, 4, 16)
    assert model.is_served


def test_the_draft_model_says_that_it_is_one():
    model = view_model(load_catalog().get("animatic"), is_served=True)
    assert model.is_draft
    assert model.duration_s.maximum == 30
