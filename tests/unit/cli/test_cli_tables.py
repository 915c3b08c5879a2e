"""Tables of jobs, clips and models on terminals of every width."""

import re

import pytest
from rich.console import Console
from rich.table import Table

from fixtures.event_examples import ERROR, a_clip, a_job
from phoenix.api.routes.models import view_model
from phoenix.catalog.catalog import load_catalog
from phoenix.cli.tables import clips_table, job_lines, jobs_table, models_table, postprocessor_lines, what_models_take
from phoenix.contract import ClipWarning, Model, ModelInterpolator, ModelLips, ModelList, ModelUpscaler, NumberRange

JOB_ID = "job_" + "0" * 26
PROMPT = "a red balloon over a harbour at dawn, seen from the sea"
WIDTHS = [40, 60, 80, 100, 160]


def lines(table: Table, width: int) -> list[str]:
    console = Console(width=width, soft_wrap=True, markup=False, highlight=False)
    with console.capture() as shown:
        console.print(table)
    return [line.rstrip() for line in shown.get().splitlines()]


def jobs_on(width: int, model: str = "wan-2.1-i2v-14b-480p") -> list[str]:
    clip = a_clip(0).model_copy(update={"prompt": PROMPT})
    job = a_job(clips=[clip]).model_copy(update={"id": JOB_ID, "model": model})
    return lines(jobs_table([job], width=width), width)


def model_of(identifier: str) -> Model:
    numbers = NumberRange(minimum=0.3125, maximum=5.0625, default=5.0625)
    limits = NumberRange(minimum=12, maximum=24, default=16)
    ratios = ["16:9", "9:16", "1:1", "4:3", "3:4"]
    fields = {"engine": "diffusers", "resolutions": ["480p", "720p"], "aspect_ratios": ratios, "is_served": False}
    return Model.model_construct(
        id=identifier, title="", description="", fps=limits, duration_s=numbers, steps=limits, **fields
    )


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_list_of_jobs_shows_whole_ids_and_the_prompts(width: int):
    header, row = jobs_on(width)
    assert (row.startswith(JOB_ID), PROMPT[:15] in row, header.endswith("prompt")) == (True, True, True)
    assert len(row) <= width


def test_a_wide_list_of_jobs_has_the_time_and_the_model_too():
    assert jobs_on(160)[0].split() == ["job", "state", "done", "created", "model", "prompt"]
    assert jobs_on(80)[0].split() == ["job", "state", "done", "created", "prompt"]
    assert jobs_on(70)[0].split() == ["job", "state", "done", "prompt"]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_of_a_model_is_cut_or_broken(width: int):
    header, first, *_ = lines(models_table([model_of("wan-2.1-i2v-14b-480p")], width=width), width)
    cells = {"fps": "12-24 (16)", "seconds": "0.31-5.06 (5.06)", "steps": "12-24 (16)"}
    shown = [cells[name] for name in header.split() if name in cells]
    assert re.findall(r"[0-9.]+-[0-9.]+ \([0-9.]+\)", first) == shown
    assert first.startswith("wan-2.1-i2v-14b-480p")
    assert len(first) <= width


def test_eighty_columns_have_all_numbers_of_a_model():
    header = lines(models_table([model_of("wan-2.1-i2v-14b-480p")], width=80), 80)[0]
    assert {"fps", "seconds", "steps", "sizes"} <= set(header.split())


def views_of(*model_ids: str) -> list[Model]:
    catalog = load_catalog()
    models = [catalog.get(model_id) for model_id in model_ids]
    return [view_model(model, catalog.adapters_of(model), unserved_reason=None) for model in models]


def test_models_that_take_the_same_share_a_line():
    assert what_models_take(views_of("veo-3.1", "veo-3.1-fast", "veo-3.1-lite")) == [
        "veo-3.1, veo-3.1-fast: takes first_frame, last_frame, reference (up to 3)",
        "veo-3.1-lite: takes first_frame, last_frame",
    ]


def test_a_needed_condition_and_the_adapters_of_a_model_are_listed():
    assert what_models_take(views_of("wan-2.1-i2v-14b-480p-4-steps")) == [
        "wan-2.1-i2v-14b-480p-4-steps: takes first_frame (needed); adapters wan-2.1-i2v-4-steps"
    ]


def test_the_tiers_of_a_model_are_listed_if_it_has_several():
    (line,) = what_models_take(views_of("animatic"))
    assert line == "animatic: takes first_frame; tiers draft, standard, high"


def test_each_upscaler_interpolator_and_lip_model_has_a_line_with_what_it_makes():
    entry = {"title": "", "description": "", "license": None}
    found = ModelList(
        data=[],
        upscalers=[ModelUpscaler(id="x4", factor=4, **entry)],
        interpolators=[
            ModelInterpolator(id="rife", factors=[2, 4, 8], **entry),
            ModelInterpolator(id="motion", factors=None, **entry),
        ],
        lip_models=[ModelLips(id="lips", **entry | {"title": "Lips of film"})],
    )
    assert postprocessor_lines(found) == [
        "upscaler x4: up to 4 times as wide and as high",
        "interpolator rife: 2, 4, 8 times the frame rate",
        "interpolator motion: any higher frame rate",
        "lip model lips: Lips of film",
    ]


def test_a_job_has_a_line_per_warning_about_its_clips():
    warning = ClipWarning(code="PROMPT_CUT", message="It was \x1b[2Jcut.", encoder="text_encoder", tokens=90, limit=77)
    job = a_job(clips=[a_clip(0), a_clip(1).model_copy(update={"warnings": [warning]})])
    assert job_lines(job)[-1] == "  warning   clip 2: PROMPT_CUT: It was  [2Jcut."
    assert not any("warning" in line for line in job_lines(a_job(clips=[a_clip(0)])))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_clip_has_its_number_from_1_and_its_prompt(width: int):
    clip = a_clip(1).model_copy(update={"prompt": PROMPT, "seed": 2**32 - 1})
    row = lines(clips_table([clip], width=width), width)[1]
    assert row.startswith("2 ")
    assert PROMPT[:10] in row
    assert str(2**32 - 1) in row or width < 80


def test_a_failed_clip_has_its_error_in_place_of_its_prompt():
    failed = a_clip(0).model_copy(update={"error": ERROR})
    assert "no memory" in lines(clips_table([failed], width=80), 80)[1]


def test_an_edit_has_its_title_and_its_original():
    shown = job_lines(a_job().model_copy(update={"title": "Second", "edited_from": JOB_ID}))
    assert "  title     Second" in shown
    assert f"  edit of   {JOB_ID}" in shown
    assert not [line for line in job_lines(a_job()) if "title" in line or "edit of" in line]


def test_a_reused_clip_says_so_in_place_of_its_state():
    clip = a_clip(0).model_copy(update={"reused": True})
    assert "reused" in lines(clips_table([clip], width=80), 80)[1]
