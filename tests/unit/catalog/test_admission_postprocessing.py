"""What `upscale` and `interpolate` of a request become, and what is refused by name."""

from typing import Any

import pytest
from pydantic import ValidationError

from phoenix.catalog.catalog import Catalog, CatalogError, load_catalog
from phoenix.catalog.postprocessors import InterpolatorSpec, UpscalerSpec
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.catalog.stored_entries import EntryChanged, check_entries, restore_interpolator, restore_upscaler
from phoenix.contract import ReelRequest, ResolvedReel
from phoenix.errors import InvalidRequest

WAN = load_catalog().get("wan-2.1-t2v-1.3b")
X4 = UpscalerSpec(id="x4", title="Four times", source="/models/x4.onnx", factor=4)
RIFE = InterpolatorSpec(id="rife", title="RIFE", source="/models/rife.onnx")
MIDDLE = InterpolatorSpec(id="middle", title="Middle", source="/models/middle.onnx", any_time=False)
MOTION = load_catalog().interpolators["motion"]


def catalog_of(upscaler: UpscalerSpec = X4, *interpolators: InterpolatorSpec) -> Catalog:
    return Catalog([WAN], upscalers=[upscaler], interpolators=interpolators or [RIFE, MIDDLE, MOTION])


CATALOG = catalog_of()
LIMITS = AdmissionLimits(max_frame_pixels=20_000_000)


def admit(catalog: Catalog = CATALOG, **body: Any) -> ResolvedReel:
    request = ReelRequest.model_validate({"clips": [{"prompt": "a fox"}]} | body)
    return admit_reel(request, catalog, default_model=WAN.id, limits=LIMITS, draw_seed=lambda: 7)


def refusal(catalog: Catalog = CATALOG, **body: Any) -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        admit(catalog, **body)
    (error,) = refused.value.field_errors
    return error.pointer, error.detail


def test_a_clip_keeps_the_size_of_its_model_and_the_reel_has_the_size_of_the_result():
    reel = admit(upscale={"id": "x4", "scale": 2})
    (clip,) = reel.clips
    assert ((clip.width, clip.height), clip.output_size) == ((832, 480), (1664, 960))
    assert (reel.width, reel.height) == (1664, 960)
    assert reel.adjustments == []


def test_without_a_scale_a_frame_grows_by_the_factor_of_the_upscaler():
    assert admit(upscale={"id": "x4"}).clips[0].output_size == (3328, 1920)


def test_a_scale_that_gives_odd_sides_is_rounded_and_reported():
    reel = admit(upscale={"id": "x4", "scale": 1.33})
    assert (reel.width, reel.height) == (1106, 638)
    (adjustment,) = reel.adjustments
    assert (adjustment.pointer, adjustment.requested) == ("/upscale/scale", "1.33 (1106.56x638.4)")


def test_an_unknown_upscaler_is_refused_with_the_list():
    assert refusal(upscale={"id": "x9"}) == ("/upscale/id", "there is no upscaler 'x9' here; there are: x4")


def test_a_scale_above_the_factor_is_refused():
    assert refusal(upscale={"id": "x4", "scale": 5}) == (
        "/upscale/scale",
        "x4 makes a picture at most 4 times as wide and as high",
    )


def test_a_result_with_too_many_pixels_is_refused():
    x8 = X4.model_copy(update={"factor": 8})
    pointer, detail = refusal(catalog_of(x8), upscale={"id": "x4"}, resolution="480p", aspect_ratio="16:9")
    assert pointer == "/upscale/id"
    assert detail == (
        "the result would have 6656x3840 pixels, and this server makes at most 20000000 pixels a frame; ask for a"
        " smaller scale or resolution"
    )


def test_interpolation_without_a_rate_doubles_the_rate_of_the_model():
    (clip,) = admit(interpolate="motion").clips
    assert (clip.fps, clip.output_fps, clip.interpolate) == (16, 32, "motion")
    assert clip.num_output_frames == 2 * clip.num_frames


def test_interpolation_to_a_rate_that_the_model_makes_starts_from_its_default_rate():
    model = WAN.model_copy(update={"fps": WAN.fps.model_copy(update={"maximum": 30})})
    catalog = Catalog([model], interpolators=[RIFE])
    (clip,) = admit(catalog, fps=24, interpolate="rife").clips
    assert (clip.fps, clip.output_fps) == (16, 24)


@pytest.mark.parametrize("fps", [8, 16])
def test_a_rate_that_is_not_above_that_of_the_model_is_refused(fps):
    pointer, detail = refusal(interpolate="rife", fps=fps)
    assert pointer == "/fps"
    assert detail == f"{WAN.id} makes 16 fps before interpolation; ask for more, or leave out interpolate"


def test_a_model_of_the_middle_makes_powers_of_two_only():
    pointer, detail = refusal(interpolate="middle", fps=24)
    assert (pointer, detail) == ("/fps", f"middle makes 32 fps of the 16 fps of {WAN.id}")
    assert admit(interpolate="middle", fps=32).fps == 32


def test_twice_the_rate_of_a_fast_model_is_refused_with_the_remedy():
    fast = WAN.model_copy(update={"fps": WAN.fps.model_copy(update={"maximum": 50, "default": 50})})
    pointer, detail = refusal(Catalog([fast], interpolators=[RIFE]), interpolate="rife")
    assert (pointer, detail) == (
        "/interpolate",
        f"twice the 50 fps of {WAN.id} are more than 60; give fps, or leave out interpolate",
    )


def test_an_unknown_interpolator_is_refused_with_the_list():
    assert refusal(interpolate="x") == (
        "/interpolate",
        "there is no interpolator 'x' here; there are: rife, middle, motion",
    )


def test_the_job_stores_what_decides_the_pixels_of_its_upscaler_and_interpolator():
    reel = admit(upscale={"id": "x4"}, interpolate="rife")
    assert reel.postprocessors["x4"].fields["factor"] == 4
    smaller = admit(catalog_of(X4.model_copy(update={"tile_px": 256})), upscale={"id": "x4"}, interpolate="rife")
    renamed = admit(catalog_of(X4.model_copy(update={"title": "x"})), upscale={"id": "x4"}, interpolate="rife")
    assert smaller.postprocessors["x4"].fingerprint != reel.postprocessors["x4"].fingerprint
    assert renamed.postprocessors == reel.postprocessors


def test_a_stored_request_is_restored_after_an_edit_of_the_catalog():
    reel = admit(upscale={"id": "x4"}, interpolate="rife")
    after = catalog_of(X4.model_copy(update={"tile_px": 256, "memory_bytes": 5}))
    restored = restore_upscaler(reel.clips[0], reel, after)
    assert restored is not None
    assert (restored.tile_px, restored.memory_bytes) == (512, 5)
    assert restore_interpolator(reel.clips[0], reel, after) == RIFE.model_copy(update={"title": "rife"})


def test_a_stored_request_whose_file_left_the_catalog_is_refused():
    reel = admit(upscale={"id": "x4"})
    with pytest.raises(EntryChanged, match=r"x4 came from /models/x4\.onnx when the request was accepted"):
        check_entries(reel, Catalog([WAN]))


def test_an_upscaler_and_an_interpolator_have_different_ids():
    with pytest.raises(CatalogError, match="upscaler 'x4': an interpolator has the same id"):
        catalog_of(X4, RIFE.model_copy(update={"id": "x4"}))


@pytest.mark.parametrize("source", ["/models/x4.pth", "/models/x4.safetensors"])
def test_only_onnx_files_are_upscalers(source):
    with pytest.raises(ValidationError, match="onnx"):
        UpscalerSpec.model_validate(X4.model_dump() | {"source": source})


def test_tiles_have_room_for_their_overlap():
    with pytest.raises(ValidationError, match="overlap_px 20 is more than a quarter of tile_px 64"):
        UpscalerSpec.model_validate(X4.model_dump() | {"tile_px": 64, "overlap_px": 20})


def test_a_catalog_file_adds_upscalers_and_interpolators_to_the_built_in_one(tmp_path):
    file = tmp_path / "catalog.toml"
    file.write_text(
        '[[upscalers]]\nid = "x4"\ntitle = "Four"\nsource = "/m/x4.onnx"\nfactor = 4\n'
        '[[interpolators]]\nid = "rife"\ntitle = "RIFE"\nsource = "/m/rife.onnx"\n'
    )
    catalog = load_catalog(file)
    assert (list(catalog.upscalers), list(catalog.interpolators)) == (["x4"], ["motion", "rife"])
