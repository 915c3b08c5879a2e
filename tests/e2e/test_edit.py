"""`phoenix edit`: only the changed clip of a reel is rendered, and the new reel is complete without the original."""

from pathlib import Path

from fixtures.up_process import PhoenixStarter, UpProcess
from phoenix.contract import Job

SHORT = ("--duration", "1", "--steps", "2", "--fps", "8")


def newest_job(up: UpProcess) -> Job:
    with up.client() as phoenix:
        return phoenix.list_jobs().data[0]


def test_an_edit_renders_the_changed_clip_and_outlives_its_original(
    lasting_up: UpProcess, start_phoenix: PhoenixStarter, tmp_path: Path
) -> None:
    here = {"PHOENIX_DATA_DIR": str(lasting_up.data_dir)}
    made = start_phoenix("generate", "a red balloon", "the sea", "a harbour", *SHORT, **here)
    assert made.wait() == 0, made.log
    original = newest_job(lasting_up)

    options = ("--reroll", "2", "--insert", "4:the evening", "--crossfade", "0.25", "--title", "Second")
    edited = start_phoenix("edit", original.id, *options, "-o", "edited.mp4", **here)
    assert edited.wait() == 0, edited.log

    job = newest_job(lasting_up)
    assert [(clip.reused, clip.attempt) for clip in job.clips] == [(True, 0), (False, 1), (True, 0), (False, 1)]
    assert (job.edited_from, job.title) == (original.id, "Second")
    assert job.clips[1].seed != original.clips[1].seed
    assert job.output is not None
    assert abs(job.output.duration_s - 3.25) < 0.1
    with lasting_up.client() as phoenix:
        phoenix.delete(original.id)
        assert phoenix.download(job.id, tmp_path / "again.mp4").read_bytes() == (tmp_path / "edited.mp4").read_bytes()


def test_a_bad_edit_is_refused_with_the_place_of_its_fault(
    lasting_up: UpProcess, start_phoenix: PhoenixStarter
) -> None:
    here = {"PHOENIX_DATA_DIR": str(lasting_up.data_dir)}
    made = start_phoenix("generate", "a red balloon", *SHORT, **here)
    assert made.wait() == 0, made.log

    refused = start_phoenix("edit", newest_job(lasting_up).id, "--reroll", "7", **here)

    assert refused.wait() != 0
    assert "/clips/0/index" in refused.log
    assert "the last index here is 0" in refused.log
