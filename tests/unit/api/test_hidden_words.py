"""What operators are not shown of jobs of other keys."""

from pydantic import HttpUrl

from builders import make_reel
from fixtures.event_examples import a_clip, a_job, clip_preview, clip_progress, clip_succeeded
from phoenix.api.steering.hidden_words import hide_in_event, hide_words
from phoenix.contract import JobSnapshot, ResolvedSoundtrack, ResolvedStitch, SoundtrackRequest, Transition
from phoenix.events.messages import encode

TOKEN_URL = HttpUrl("https://music.example/a.mp3?token=secret")


def test_no_words_of_a_reel_are_left() -> None:
    reel = make_reel("secret prompt")
    clips = [clip.model_copy(update={"caption": "secret", "narration": "secret"}) for clip in reel.clips]
    request = reel.model_copy(update={"clips": clips, "takes": clips, "soundtrack": SoundtrackRequest(url=TOKEN_URL)})
    clip = a_clip().model_copy(update={"prompt": "secret", "caption": "secret"})
    words = {"title": "secret", "tags": ["secret"], "metadata": {"a": "secret"}, "request": request}

    shown = hide_words(a_job(clips=[clip]).model_copy(update=words))

    assert "secret" not in shown.model_dump_json()
    assert (shown.clips[0].caption, shown.clips[0].narration) == ("(hidden)", "")


def test_the_address_of_a_sound_is_hidden_in_every_kind_of_job() -> None:
    source = SoundtrackRequest(url=TOKEN_URL)
    requests = [
        ResolvedStitch(artifact_ids=[], transition=Transition(), soundtrack=source),
        ResolvedSoundtrack(source=source),
    ]

    shown = [hide_words(a_job().model_copy(update={"request": request})) for request in requests]

    assert not any("secret" in job.model_dump_json() for job in shown)


def test_a_preview_is_left_out_and_progress_is_not() -> None:
    progress = encode(clip_progress(1))

    assert hide_in_event(encode(clip_preview())) is None
    assert hide_in_event(progress) is progress


def test_a_snapshot_keeps_its_place_in_the_stream() -> None:
    job = a_job(clips=[a_clip().model_copy(update={"prompt": "secret"})])
    snapshot = encode(JobSnapshot(job_id=job.id, seq=3, at=job.created_at, job=job))

    shown = hide_in_event(snapshot)

    assert shown is not None
    assert (shown.id, shown.seq, b"secret" in shown.frame) == (snapshot.id, 3, False)


def test_a_finished_clip_is_shown_as_it_is() -> None:
    done = encode(clip_succeeded(4))

    assert hide_in_event(done) is done
