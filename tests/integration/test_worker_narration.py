"""Narration through a worker: heard with its clip, over quieter music, once per text, refused if it is too long."""

import json
from pathlib import Path

import numpy as np
import pytest

from fixtures.media_files import MediaMaker, decode
from fixtures.scripted_server import Answer, ScriptedServer
from fixtures.speech import ESPEAK, SPEECH_PATH, VOICE_HZ, loudness_of, narrated_reel, service_settings, spoken
from fixtures.workplace import OWNER, OpenHarness, WorkerHarness
from phoenix.contract import ArtifactKind, JobOptions, JobState, ResolvedReel, SoundtrackRequest, Transition
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.repository import FullJob
from phoenix.jobs.reuse import EarlierWork
from phoenix.jobs.submission.submit import submit
from phoenix.settings import LimitSettings, TtsSettings

MUSIC_HZ = 220
SECRET = "secret-key"


@pytest.fixture
async def speaking(open_harness: OpenHarness, scripted_server: ScriptedServer) -> WorkerHarness:
    """A workplace whose narration is spoken by the scripted server."""
    return await open_harness(tts=service_settings(scripted_server.url))


async def finished(harness: WorkerHarness, reel: ResolvedReel) -> FullJob:
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(reel))
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    assert job.output is not None
    return job


async def test_a_narration_is_heard_with_its_clip_over_quieter_music(
    speaking: WorkerHarness, scripted_server: ScriptedServer, media: MediaMaker, tmp_path: Path
) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken(1.5))
    music = await speaking.upload(media.sound("music.wav", seconds=6, source=f"sine={MUSIC_HZ}"))
    job = await finished(speaking, narrated_reel({1: "hello"}, soundtrack=SoundtrackRequest(artifact_id=music)))

    assert job.output is not None
    reel = await speaking.download(job.output, tmp_path)
    voice, below = loudness_of(reel, VOICE_HZ), loudness_of(reel, MUSIC_HZ)
    # Clip 1 begins after two seconds, and windows are a quarter of a second long.
    during, before, after = slice(9, 13), slice(1, 7), slice(18, 23)
    assert min(voice[during]) > 20 * max(*voice[before], *voice[after])
    assert np.mean(below[during]) < 0.5 * np.mean(below[before])
    assert np.mean(below[after]) > 0.8 * np.mean(below[before])


async def test_what_is_sent_to_the_service_is_the_text_and_the_voice(
    speaking: WorkerHarness, scripted_server: ScriptedServer
) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken())
    await finished(speaking, narrated_reel({0: "Guten Morgen, Köln"}))

    (request,) = scripted_server.received_at(SPEECH_PATH)
    sent = json.loads(request.body)
    assert (sent["input"], sent["voice"], sent["model"]) == ("Guten Morgen, Köln", "alloy", "tts")
    assert request.headers["authorization"] == f"Bearer {SECRET}"


async def test_a_narration_without_music_is_the_sound_of_the_reel(
    speaking: WorkerHarness, scripted_server: ScriptedServer, media: MediaMaker, tmp_path: Path
) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken())
    job = await finished(speaking, narrated_reel({2: "hello"}, transition=Transition(kind="crossfade", duration_s=0.5)))

    assert job.output is not None
    reel = await speaking.download(job.output, tmp_path)
    # Two crossfades of half a second before it: clip 2 begins after three seconds.
    heard = [level > 0.01 for level in loudness_of(reel, VOICE_HZ)]
    assert heard[:12] == [False] * 12
    assert heard[13:15] == [True] * 2
    assert media.loudness(reel, 5).integrated_lufs == pytest.approx(-16, abs=1)


async def test_a_narration_without_a_caption_is_captioned_word_by_word(
    speaking: WorkerHarness, scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken(1.0))
    job = await finished(speaking, narrated_reel({1: "to be seen"}))

    (speech,) = await speaking.artifacts(job.row.id, ArtifactKind.NARRATION)
    assert [word["text"] for word in speech.info["words"]] == ["to", "be", "seen"]
    srt = next(f for f in await speaking.artifacts(job.row.id, ArtifactKind.CAPTIONS) if f.info["format"] == "srt")
    text = (await speaking.download(srt, tmp_path)).read_text()
    assert text.startswith("1\n00:00:02,000 --> 00:00:03,")
    assert "to be seen" in text


async def test_a_speech_that_outlasts_its_clip_fails_the_job_with_the_length_it_needs(
    speaking: WorkerHarness, scripted_server: ScriptedServer
) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken(2.5))
    async with speaking.worker():
        job = await speaking.until_ended(await speaking.submit(narrated_reel({1: "too much"})))

    error = job.row.error
    assert error is not None
    assert (error["code"], error["stage"], error["clip_index"]) == ("NARRATION_TOO_LONG", "narration", 1)
    assert "takes 2.5 s and has 2 s: give the clip 2.5" in error["message"]
    assert error["retriable"] is False


async def test_a_service_that_is_away_is_asked_again(speaking: WorkerHarness, scripted_server: ScriptedServer) -> None:
    scripted_server.on("POST", SPEECH_PATH, Answer(503), Answer(429), spoken())

    job = await finished(speaking, narrated_reel({0: "hello"}))

    (task,) = (task for task in job.tasks if task.kind is TaskKind.NARRATE)
    assert task.attempt == 3


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [(401, "invalid_api_key", "MODEL_UNAVAILABLE"), (400, "content_policy_violation", "MODERATED")],
)
async def test_what_a_service_refuses_for_good_fails_the_job_with_its_words(
    speaking: WorkerHarness, scripted_server: ScriptedServer, status: int, code: str, failure: str
) -> None:
    refusal = {"error": {"code": code, "message": "No, thank you."}}
    scripted_server.on("POST", SPEECH_PATH, Answer(status, json.dumps(refusal).encode()))
    async with speaking.worker():
        job = await speaking.until_ended(await speaking.submit(narrated_reel({0: "hello"})))

    error = job.row.error
    assert error is not None
    assert (error["code"], error["retriable"]) == (failure, False)
    assert "No, thank you." in error["message"]
    assert SECRET not in json.dumps(error)


async def test_an_answer_that_is_no_sound_fails_the_job(
    speaking: WorkerHarness, scripted_server: ScriptedServer
) -> None:
    scripted_server.on("POST", SPEECH_PATH, Answer(200, b"<html>welcome</html>"))
    async with speaking.worker():
        job = await speaking.until_ended(await speaking.submit(narrated_reel({0: "hello"})))

    assert (job.row.error or {})["code"] == "MEDIA_INVALID"


async def test_the_same_text_in_the_same_voice_is_spoken_once(
    speaking: WorkerHarness, scripted_server: ScriptedServer
) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken())
    reel = narrated_reel({0: "hello"})
    await finished(speaking, reel)

    async with speaking.worker():
        async with speaking.services.database.write() as uow:
            reusable = EarlierWork(frozenset({reel.position_of_narration(reel.clips[0])}))
            limits = speaking.settings.limits
            again = await submit(
                uow, reel, JobOptions(), owner_id=OWNER, request_id=None, limits=limits, earlier=reusable
            )
        job = await speaking.until_ended(again.row.id)

    assert job.row.state is JobState.SUCCEEDED
    assert len(scripted_server.received_at(SPEECH_PATH)) == 1
    assert [task.is_reused for task in job.tasks if task.kind is TaskKind.NARRATE] == [True]


async def test_espeak_speaks_and_says_when(open_harness: OpenHarness, tmp_path: Path) -> None:
    harness = await open_harness(tts=TtsSettings(engine="espeak"))
    job = await finished(harness, narrated_reel({0: "It costs $5."}, voice=ESPEAK))

    (speech,) = await harness.artifacts(job.row.id, ArtifactKind.NARRATION)
    words = speech.info["words"]
    assert [word["text"] for word in words] == ["It", "costs", "$5."]
    assert 0 <= words[0]["start_s"] < words[1]["start_s"] < words[2]["start_s"] < speech.info["duration_s"]


async def test_a_voice_that_the_worker_lacks_is_named(open_harness: OpenHarness) -> None:
    harness = await open_harness(tts=TtsSettings(engine="espeak"))
    voice = ESPEAK.model_copy(update={"name": "nobody"})
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(narrated_reel({0: "hello"}, voice=voice)))

    error = job.row.error
    assert error is not None
    assert (error["code"], error["clip_index"]) == ("MODEL_UNAVAILABLE", 0)
    assert "'nobody'" in error["message"]


async def test_a_clip_holds_its_last_frame_until_its_narration_has_ended(
    speaking: WorkerHarness, scripted_server: ScriptedServer, media: MediaMaker, tmp_path: Path
) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken(3.0))
    music = await speaking.upload(media.sound("music.wav", seconds=10, source=f"sine={MUSIC_HZ}"))
    reel = narrated_reel(
        {1: "a long story"},
        fit_narration=True,
        captions="off",
        soundtrack=SoundtrackRequest(artifact_id=music),
        transition=Transition(kind="crossfade", duration_s=0.5),
    )
    job = await finished(speaking, reel)

    assert job.output is not None
    path = await speaking.download(job.output, tmp_path)
    made = decode(path)
    # Clip 1 begins after 1.5 s and speaks for 3 s, and the last clip takes 2 s.
    assert made.num_frames / 16 == pytest.approx(6.5, abs=1 / 16)
    assert made.sound_s == pytest.approx(6.5, abs=0.1)
    assert [level > 0.01 for level in loudness_of(path, VOICE_HZ, 0.5)][:10] == [False] * 3 + [True] * 6 + [False]
    # It stays until the next clip fades in, and the music goes on to the end.
    colours = np.array(made.colours[58:71])
    assert np.abs(colours - colours[0]).max() <= 4
    assert min(loudness_of(path, MUSIC_HZ, 0.5)[10:12]) > 0.01


async def test_a_reel_that_grows_beyond_the_limit_of_the_server_fails(
    open_harness: OpenHarness, scripted_server: ScriptedServer
) -> None:
    settings = service_settings(scripted_server.url)
    harness = await open_harness(tts=settings, limits=LimitSettings(max_reel_duration_s=6.5))
    scripted_server.on("POST", SPEECH_PATH, spoken(3.0))
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(narrated_reel({1: "long"}, fit_narration=True)))

    error = job.row.error
    assert error is not None
    assert (error["code"], "takes 7 s: this server makes at most 6.5 s" in error["message"]) == (
        "NARRATION_TOO_LONG",
        True,
    )
