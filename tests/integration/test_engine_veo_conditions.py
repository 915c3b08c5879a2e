"""The pictures that guide a clip of Veo: on the wire of Google's own SDK, and refused before anything is paid for."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fixtures.renders import make_clip
from fixtures.veo_server import BEGIN, OpenVeo, VeoServer, refusal
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import ConditionRole, MediaInfo, ReelRequest, ResolvedReel
from phoenix.engine.backends.veo.engine import VeoEngine
from phoenix.engine.backends.veo.request import request_for
from phoenix.engine.interface import ClipInputs, ConditionFile, NullObserver
from phoenix.errors import InvalidRequest, TaskFailed

CATALOG = load_catalog()
PICTURE = f"art_{0:026}"
COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def engine(open_veo: OpenVeo) -> VeoEngine:
    return open_veo()


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    """A picture of 100x100 pixels for each colour."""
    for colour in COLOURS:
        Image.new("RGB", (100, 100), colour).save(tmp_path / f"{colour}.png")
    return {colour: tmp_path / f"{colour}.png" for colour in COLOURS}


def inputs(*conditions: tuple[ConditionRole, Path], **changes: Any) -> ClipInputs:
    clip = make_clip(**{"width": 128, "height": 72, "fps": 24, "num_frames": 96, "steps": 100, **changes})
    return ClipInputs(clip, CATALOG.get("veo-3.1"), tuple(ConditionFile(role, path) for role, path in conditions))


def sent(veo_server: VeoServer) -> dict[str, Any]:
    (body,) = veo_server.bodies(BEGIN)
    return body["instances"][0]


def look(image: dict[str, str]) -> tuple[str, tuple[int, int]]:
    """The colour and the size of a picture that was sent."""
    picture = Image.open(io.BytesIO(base64.b64decode(image["bytesBase64Encoded"])))
    assert (image["mimeType"], picture.format) == ("image/jpeg", "JPEG")
    middle = picture.getpixel((picture.width // 2, picture.height // 2))
    assert isinstance(middle, tuple)
    colour = min(COLOURS, key=lambda name: sum(abs(a - b) for a, b in zip(COLOURS[name], middle, strict=True)))
    return colour, picture.size


def test_a_first_and_a_last_frame_are_sent_as_such(
    engine: VeoEngine, veo_server: VeoServer, pictures: dict[str, Path]
) -> None:
    frames = (("last_frame", pictures["blue"]), ("first_frame", pictures["red"]))
    rendered = engine.render(inputs(*frames), NullObserver())

    assert len(list(rendered.frames)) == 96
    assert rendered.sound is not None
    instance = sent(veo_server)
    assert look(instance["image"]) == ("red", (128, 72))
    assert look(instance["lastFrame"]) == ("blue", (128, 72))
    assert "referenceImages" not in instance


def test_references_are_sent_whole_in_their_order_as_subjects(
    engine: VeoEngine, veo_server: VeoServer, pictures: dict[str, Path]
) -> None:
    engine.render(inputs(*(("reference", pictures[name]) for name in COLOURS)), NullObserver())

    instance = sent(veo_server)
    assert [each["referenceType"] for each in instance["referenceImages"]] == ["ASSET"] * 3
    assert [look(each["image"]) for each in instance["referenceImages"]] == [(name, (72, 72)) for name in COLOURS]
    assert not {"image", "lastFrame"} & instance.keys()


def test_each_picture_makes_another_paid_request(pictures: dict[str, Path]) -> None:
    red, blue = pictures["red"], pictures["blue"]
    variants = [
        inputs(),
        inputs(("first_frame", red)),
        inputs(("first_frame", red), ("last_frame", red)),
        inputs(("first_frame", red), ("last_frame", blue)),
        inputs(("reference", red)),
        inputs(("reference", red), ("reference", blue)),
        inputs(("reference", blue), ("reference", red)),
    ]

    digests = {request_for(each).digest for each in variants}

    assert len(digests) == len(variants)
    assert request_for(variants[3]).digest == request_for(variants[3]).digest


def test_a_refusal_of_the_service_names_its_reason(
    engine: VeoEngine, veo_server: VeoServer, pictures: dict[str, Path]
) -> None:
    veo_server.begin_with = [refusal(400, "referenceImages is not supported by this model.")]

    with pytest.raises(TaskFailed, match="referenceImages is not supported") as failed:
        engine.render(inputs(("reference", pictures["red"])), NullObserver())

    assert not failed.value.retriable


def admit(model: str, *roles: str, **more: Any) -> ResolvedReel:
    conditions = [{"role": role, "source": {"artifact_id": PICTURE}} for role in roles]
    clip = {"prompt": "a fox", "conditions": conditions}
    return admit_reel(
        ReelRequest.model_validate({"model": model, "clips": [clip], **more}),
        CATALOG,
        default_model="animatic",
        limits=AdmissionLimits(),
        draw_seed=lambda: 0,
        media={PICTURE: MediaInfo(media="image", format="png")},
    )


@pytest.mark.parametrize("model", ["veo-3.1", "veo-3.1-fast", "veo-3.1-lite"])
@pytest.mark.parametrize("duration_s", [4, 6, 8])
@pytest.mark.parametrize("resolution", ["720p", "1080p"])
def test_every_length_and_resolution_takes_a_first_and_a_last_frame(
    model: str, duration_s: int, resolution: str
) -> None:
    reel = admit(model, "first_frame", "last_frame", duration_s=duration_s, resolution=resolution)

    assert [each.role for each in reel.clips[0].conditions] == ["first_frame", "last_frame"]
    assert reel.clips[0].num_frames == duration_s * 24


@pytest.mark.parametrize("model", ["veo-3.1", "veo-3.1-fast"])
def test_a_clip_of_eight_seconds_takes_three_references(model: str) -> None:
    assert len(admit(model, *["reference"] * 3).clips[0].conditions) == 3


REFUSED = [
    ("veo-3.1", ["last_frame"], {}, "takes last_frame only together with first_frame"),
    ("veo-3.1", ["reference", "first_frame"], {}, "does not take reference together with first_frame"),
    (
        "veo-3.1-fast",
        ["first_frame", "last_frame", "reference"],
        {},
        "does not take reference together with last_frame",
    ),
    ("veo-3.1", ["reference"] * 4, {}, "takes at most 3 of the role reference"),
    ("veo-3.1-lite", ["reference"], {}, "veo-3.1-lite takes no reference; it takes first_frame, last_frame"),
    ("veo-3.1", ["source_video"], {}, "veo-3.1 takes no source_video; it takes first_frame, last_frame, reference"),
    (
        "veo-3.1",
        ["reference"],
        {"duration_s": 4},
        "veo-3.1 takes reference in clips of 8 s only, and this clip is 4 s long; change duration_s",
    ),
]


@pytest.mark.parametrize(("model", "roles", "more", "complaint"), REFUSED)
def test_what_a_model_cannot_use_is_refused_by_name(
    model: str, roles: list[str], more: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        admit(model, *roles, **more)

    assert complaint in json.dumps([error.detail for error in refused.value.field_errors])
