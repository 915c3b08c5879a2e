"""What the modules of the studio decide without a page: edits, and the differences of versions."""

import json
import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from fixtures.chromium import Page
from fixtures.up_process import UpProcess

pytestmark = pytest.mark.e2e

Clip = dict[str, Any]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    with closing(UpProcess(tmp_path_factory.mktemp("up"))) as opened:
        opened.wait_until_ready()
        yield opened


async def call(page: Page, module: str, name: str, *arguments: Any) -> Any:
    given = ", ".join(json.dumps(each) for each in arguments)
    return await page.evaluate(f"import('/studio/{module}').then(module => module.{name}({given}))")


@pytest.fixture
async def studio(page: Page, up: UpProcess) -> Page:
    await page.open(up.url)
    await page.wait_until("document.getElementById('model')?.value")
    return page


def clip(number: int) -> Clip:
    return {"prompt": f"clip {number}", "seed": number, "duration_s": 2, "take": 0, "from": number}


def apply(clips: list[Clip], edits: list[Clip]) -> list[Clip]:
    """As the server applies them: each index counts the clips as the edits before have left them."""
    made = [dict(each) for each in clips]
    for edit in edits:
        index = edit["index"]
        match edit["op"]:
            case "insert":
                made.insert(index, {**edit["clip"], "from": None})
            case "remove":
                made.pop(index)
            case "move":
                made.insert(edit["to"], made.pop(index))
            case "replace":
                made[index] |= edit["clip"]
            case "take":
                made[index]["take"] = edit["take"]
            case _:
                made[index]["reroll"] = True
    return made


@pytest.mark.parametrize("seed", range(8))
async def test_the_edits_make_the_draft_of_the_original(studio: Page, seed: int):
    chance = random.Random(seed)
    originals = [clip(number) for number in range(7)]
    drafts = [dict(each) for each in chance.sample(originals, chance.randint(1, 7))]
    for _ in range(chance.randint(0, 3)):
        drafts.insert(chance.randint(0, len(drafts)), {"prompt": f"new {chance.random()}", "from": None})
    chance.choice(drafts)["prompt"] = "changed"
    edits = await call(studio, "editor/draft.js", "clipEdits", originals, drafts)
    assert [(each["prompt"], each["from"]) for each in apply(originals, edits)] == [
        (each["prompt"], each["from"]) for each in drafts
    ]


async def test_one_clip_that_is_moved_is_one_move(studio: Page):
    originals = [clip(number) for number in range(5)]
    drafts = [originals[index] for index in (1, 2, 3, 4, 0)]
    edits = await call(studio, "editor/draft.js", "clipEdits", originals, drafts)
    assert edits == [{"op": "move", "index": 0, "to": 4}]


async def test_only_what_was_changed_of_a_clip_is_sent(studio: Page):
    originals = [clip(0), clip(1)]
    drafts = [clip(0) | {"duration_s": 3}, clip(1) | {"reroll": True}]
    edits = await call(studio, "editor/draft.js", "clipEdits", originals, drafts)
    assert edits == [
        {"op": "replace", "index": 0, "clip": {"prompt": "clip 0", "duration_s": 3}},
        {"op": "reroll", "index": 1},
    ]


async def test_another_take_is_chosen_and_not_rendered(studio: Page):
    edits = await call(studio, "editor/draft.js", "clipEdits", [clip(0)], [clip(0) | {"take": 2}])
    assert edits == [{"op": "take", "index": 0, "take": 2}]


RULES = [
    {"role": "first_frame", "media": "image", "maximum": 1, "excludes": ["reference"]},
    {"role": "reference", "media": "image", "maximum": 3, "excludes": ["first_frame"]},
    {"role": "source_video", "media": "video", "maximum": 1, "excludes": []},
]


@pytest.mark.parametrize(
    ("media", "taken", "role"),
    [
        ("image", [], "first_frame"),
        ("image", ["first_frame"], None),
        ("image", ["reference", "reference"], "reference"),
        ("image", ["reference"] * 3, None),
        ("video", ["first_frame"], "source_video"),
        ("audio", [], None),
        (None, ["first_frame"], "source_video"),
    ],
)
async def test_a_file_gets_the_first_role_that_the_clip_has_room_for(
    studio: Page, media: str | None, taken: list[str], role: str | None
):
    assert await call(studio, "guides/roles.js", "openRole", media, RULES, taken) == role


@pytest.mark.parametrize(
    ("one", "other", "box"),
    [
        ((10, 20), (60, 90), (10, 20, 50, 70)),
        ((60, 90), (10, 20), (10, 20, 50, 70)),
        ((-5, 8.4), (500, 400), (0, 8, 320, 232)),
        ((10, 10), (20, 90), None),
    ],
)
async def test_a_box_is_drawn_between_two_points_of_the_picture(
    studio: Page, one: tuple[float, float], other: tuple[float, float], box: tuple[int, ...] | None
):
    points = [dict(zip("xy", point, strict=True)) for point in (one, other)]
    made = await call(studio, "lips/box.js", "boxBetween", *points, {"width": 320, "height": 240})
    assert made == (box and dict(zip(("x", "y", "width", "height"), box, strict=True)))


async def test_a_clip_whose_lips_move_takes_a_sound(studio: Page):
    rules = await call(studio, "guides/roles.js", "rulesOf", {"conditions": RULES}, True)
    assert [rule["role"] for rule in rules] == [*(rule["role"] for rule in RULES), "audio"]
    assert await call(studio, "guides/roles.js", "rulesOf", {"conditions": RULES}, False) == RULES


def estimate(**changes: Any) -> Clip:
    figures = {"render_s": 40, "wait_s": 90, "eta_s": 135, "price": None, "unknown": [], "adjustments": []}
    return {**figures, "draft": None, "clips": [{"reused": 0}, {"reused": 1}]} | changes


async def test_an_estimate_is_said_in_one_line(studio: Page):
    price = {"amount": 0.0278, "currency": "EUR", "basis": "device_hour"}
    draft = estimate(render_s=0.2, eta_s=12)
    said = await call(studio, "form/estimate.js", "describeEstimate", estimate(price=price, draft=draft))
    assert said[0].split(" \u00b7 ") == [
        "1 clip reused",
        "about 40 s of device time",
        "starts in about 1:30",
        "done in about 2:15",
        "\u20ac0.0278",
        "its draft: less than 1 s of device time, done in about 12 s",
    ]


async def test_what_an_estimate_does_not_know_has_its_reason_once(studio: Page):
    reasons = [{"name": name, "detail": "Nothing is known."} for name in ("render_s", "eta_s", "price")]
    unknown = estimate(
        render_s=None, wait_s=None, eta_s=None, unknown=[*reasons, {"name": "price", "detail": "No price."}]
    )
    assert await call(studio, "form/estimate.js", "describeEstimate", unknown) == ["1 clip reused", "Nothing is known."]


def version(*clips: tuple[str, int]) -> Clip:
    made = [{"prompt": prompt, "seed": seed, "num_frames": 32, "fps": 16} for prompt, seed in clips]
    return {"request": {"clips": made}}


async def test_the_clips_of_two_versions_find_each_other(studio: Page):
    older = version(("a", 1), ("b", 2), ("c", 3), ("d", 4))
    newer = version(("a", 1), ("d", 4), ("b", 9), ("e", 5))
    found = await call(studio, "editor/differences.js", "differences", older, newer)
    assert [each["change"] for each in found["clips"]] == ["same", "was clip 4", "other seed, was clip 2", "new"]
    assert found["removed"] == [2]


NOW_MS = 1_780_272_000_000


async def test_a_search_of_the_console_has_words_qualifiers_and_faults(studio: Page):
    async def read(text: str) -> Any:
        return await call(studio, "console/qualifiers.js", "readSearch", text, NOW_MS)

    assert await read("state:failed model:animatic owner:abc after:1d") == {
        "owner": "abc",
        "filter": {"state": "failed", "model": "animatic", "created_after": "2026-05-31T00:00:00.000Z"},
        "faults": [],
    }
    found = await read('a fox #sea tag:dawn metadata.customer:"42 b" is:favorite before:2026-05-30')
    assert found["filter"] == {
        "q": "a fox",
        "tags": ["sea", "dawn"],
        "metadata": {"customer": "42 b"},
        "favorite": True,
        "created_before": "2026-05-30T00:00:00.000Z",
    }
    faulty = await read("state:none colour:red after:yesterday kind:")
    assert [fault.partition(":")[0] for fault in faulty["faults"]] == ["state", "colour", "after", "kind"]
    params = await call(studio, "console/qualifiers.js", "paramsOf", found)
    assert sorted(params) == [
        ["created_before", "2026-05-30T00:00:00.000Z"],
        ["favorite", "true"],
        ["metadata.customer", "42 b"],
        ["owner", "all"],
        ["q", "a fox"],
        ["tag", "dawn"],
        ["tag", "sea"],
    ]


async def test_a_chart_has_zero_or_a_gap_where_nothing_happened(studio: Page):
    times = await call(studio, "console/series.js", "gridOf", "2026-06-01T00:30:00Z", "2026-06-01T03:00:00Z", "hour")
    point = {
        "at": "2026-06-01T01:00:00Z",
        "submitted": 3,
        "jobs": {"failed": 1, "expired": 1},
        "job_codes": {"TIMEOUT": 2},
    }
    waits = {"wait_s": {"p50": 1.5, "p95": 9}, "utilisation": 0.5}
    series = {"group": None, "total": {"job_codes": {"TIMEOUT": 2}}, "points": [point | waits]}
    found = await call(studio, "console/series.js", "chartsOf", series, times, "")
    lines = {each["id"]: {line["label"]: line["values"] for line in each["lines"]} for each in found}
    assert len(times) == 3
    assert lines["throughput"]["submitted"] == [0, 3, 0]
    assert lines["throughput"]["failed or expired"] == [0, 2, 0]
    assert lines["failures"] == {"TIMEOUT": [0, 2, 0]}
    assert lines["waits"] == {"p50": [None, 1.5, None], "p95": [None, 9, None]}
    assert lines["utilisation"] == {"utilisation": [None, 50, None]}
    of_model = await call(studio, "console/series.js", "chartsOf", series, times, "model")
    assert {"utilisation", "backlog", "memory"} & {each["id"] for each in of_model} == set()


async def test_the_pieces_of_an_attempt_are_its_wait_its_stages_and_what_no_stage_has_timed(studio: Page):
    attempt = {
        "waited_s": 2,
        "started_at": "2026-06-01T00:00:02Z",
        "ended_at": "2026-06-01T00:00:10Z",
        "stages": {"load": 2, "denoise": 4},
        "state": "succeeded",
    }
    job = {"created_at": "2026-06-01T00:00:00Z", "finished_at": "2026-06-01T00:00:10Z"}
    span = await call(studio, "console/attempts.js", "spanOf", job, [attempt], NOW_MS)
    pieces = await call(studio, "console/attempts.js", "piecesOf", attempt, span, NOW_MS)
    assert [(each["kind"], each["from"], each["to"]) for each in pieces] == [
        ("wait", 0, 0.2),
        ("load", 0.2, 0.4),
        ("denoise", 0.4, 0.8),
        ("rest", 0.8, 1),
    ]
