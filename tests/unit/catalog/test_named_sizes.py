"""Pixels, as clients of other APIs give them, and the names that Phoenix has for them."""

from phoenix.api.openai.views import name_sizes
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.resolve import Size, fit_size

CATALOG = load_catalog()


def test_every_name_that_a_model_has_leads_back_to_its_pixels() -> None:
    for model in CATALOG:
        for size, (resolution, aspect_ratio) in name_sizes(model.size).items():
            assert fit_size(model.size, resolution, aspect_ratio) == size


def test_the_sizes_of_openai_are_sizes_of_the_animatic() -> None:
    sizes = name_sizes(CATALOG.get("animatic").size)

    assert sizes[Size(1280, 720)] == ("720p", "16:9")
    assert sizes[Size(720, 1280)] == ("720p", "9:16")


def test_a_size_is_named_as_the_model_was_trained_at_it() -> None:
    assert name_sizes(CATALOG.get("wan-2.1-t2v-1.3b").size)[Size(832, 480)] == ("480p", "16:9")
