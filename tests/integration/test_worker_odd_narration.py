"""Narration of texts that nobody can say: punctuation, other scripts, marks of markup. Each is spoken or silent."""

import pytest

from fixtures.speech import ESPEAK, narrated_reel
from fixtures.workplace import OpenHarness
from phoenix.contract import JobState
from phoenix.settings import TtsSettings


@pytest.mark.parametrize(
    "texts",
    [
        ("...", "?!", "\u05e9\u05dc\u05d5\u05dd"),
        ("{\\an8}\\N hi", "<speak>&amp;</speak> [[x]]", "\u200f\u202ea\nb\r\nc"),
    ],
)
async def test_no_text_of_a_narration_fails_its_reel(open_harness: OpenHarness, texts: tuple[str, ...]) -> None:
    harness = await open_harness(tts=TtsSettings(engine="espeak"))
    reel = narrated_reel(dict(enumerate(texts)), voice=ESPEAK, captions="burned", fit_narration=True)

    async with harness.worker():
        job = await harness.until_ended(await harness.submit(reel))

    assert job.row.state is JobState.SUCCEEDED, job.row.error
