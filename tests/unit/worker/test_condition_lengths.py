"""How many frames of a video condition a clip wants, and which ones."""

from fixtures.renders import make_clip
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import ConditionRule
from phoenix.contract import ConditionSource, ResolvedCondition
from phoenix.worker.conditions import continues, min_frames

CLIP = make_clip(num_frames=97, fps=24)


def model(**rule: float) -> ModelSpec:
    rules = {"source_video": ConditionRule.model_validate(rule)}
    return load_catalog().get("animatic").model_copy(update={"conditions": rules})


def condition(*, overlap_s: float | None = None, is_previous: bool = False) -> ResolvedCondition:
    source = ConditionSource(previous_clip=True) if is_previous else ConditionSource(artifact_id="art_" + "0" * 26)
    return ResolvedCondition(role="source_video", source=source, overlap_s=overlap_s)


def test_a_clip_uses_one_frame_of_a_video_for_each_of_its_own_or_those_of_the_overlap():
    assert [CLIP.frames_of_source(overlap_s) for overlap_s in (None, 0.71, 60)] == [97, 17, 97]


def test_a_video_has_to_have_the_frames_that_its_entry_needs():
    assert min_frames(CLIP, model(), condition()) == 97
    assert min_frames(CLIP, model(shortest_s=0.4), condition()) == 9
    assert min_frames(CLIP, model(overlap_s=0.71), condition(overlap_s=0.71)) == 17
    assert min_frames(CLIP, model(overlap_s=0.71, shortest_s=0.4), condition(overlap_s=0.71)) == 9


def test_a_clip_goes_on_from_the_end_of_the_clip_before_and_of_a_video_that_it_continues():
    assert [continues(condition(is_previous=True)), continues(condition(overlap_s=1))] == [True, True]
    assert not continues(condition())
