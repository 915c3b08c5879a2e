"""What guides the clips of a drawn reel: conditions of every role from every source, and a clip that comes first."""

from collections.abc import Sequence
from typing import Any, get_args

from fuzz.odd_values import VALUES
from fuzz.scene import Scene
from phoenix.contract import ConditionRole

ROLES: Sequence[str] = get_args(ConditionRole)
MODELS: Sequence[str] = ("animatic", "animatic", "animatic", "veo-3.1", "gemini-omni-1.2-flash", "wan-2.1-t2v-1.3b")
"""The worker of the fuzz serves only the first. Jobs for the others wait, until somebody cancels them."""


def guide(scene: Scene, body: dict[str, Any]) -> None:
    """Adds conditions to some of the clips of `body`, and sometimes a clip to extend, a tier or an adapter."""
    draw = scene.draw
    for index, clip in enumerate(body["clips"]):
        if draw.random() < 0.6:
            clip["conditions"] = [condition(scene, index) for _ in range(draw.choice([1, 1, 1, 2, 17]))]
    if draw.random() < 0.4:
        body["model"] = draw.choice(MODELS)
    if draw.random() < 0.3:
        body["extends"] = clip_of_a_job(scene)
    if draw.random() < 0.2:
        body["quality"] = draw.choice(["draft", "standard", "high", "best"])
    if draw.random() < 0.1:
        body["loras"] = [{"id": draw.choice(["film", "../film"]), "scale": draw.choice([0, 0.8, -1, 1e308])}]


def condition(scene: Scene, index: int) -> dict[str, Any]:
    draw = scene.draw
    # The worker of the fuzz serves a model that takes a first frame.
    role = "first_frame" if draw.random() < 0.6 else draw.choice(ROLES)
    made: dict[str, Any] = {"role": role, "source": source(scene, index)}
    if draw.random() < 0.1 or role == "keyframe":
        made["at_s"] = draw.choice([0, 0.5, 1, 600, -1])
    if draw.random() < 0.1:
        made["strength"] = draw.choice([0, 0.5, 10, 11])
    return made


def source(scene: Scene, index: int) -> dict[str, Any]:
    """An artifact, a clip of a job, or the clip before; sometimes two of them at once, or none."""
    draw = scene.draw
    roll = draw.random()
    if roll < 0.35:
        return {"artifact_id": scene.own_or_other("artifacts")}
    if roll < 0.6:
        return clip_of_a_job(scene)
    if roll < 0.9 and index:
        return {"previous_clip": True}
    odd = {"previous_clip": draw.choice([True, False, 1, None]), **clip_of_a_job(scene)}
    return {name: odd[name] for name in odd if draw.random() < 0.5}


def clip_of_a_job(scene: Scene) -> dict[str, Any]:
    """Of the reels of the fuzz, which have one to three clips."""
    index = scene.draw.choice([0, 0, 1, 2]) if scene.draw.random() < 0.9 else scene.draw.choice([499, 500, -1, *VALUES])
    return {"job_id": scene.own_or_other("jobs"), "clip_index": index}
