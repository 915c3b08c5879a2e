"""What `phoenix plan` finds out about the sound and the picture that a reel is to have."""

from pathlib import Path

from typer.testing import CliRunner, Result

from phoenix.cli.app import app


def run(audio: Path) -> Result:
    return CliRunner().invoke(app, ["plan", "a fox", "--audio", str(audio)])


def run_with_picture(image: Path) -> Result:
    return CliRunner().invoke(app, ["plan", "a fox", "--model", "wan-2.1-i2v-14b-480p", "--image", str(image)])


def test_a_sound_that_can_be_used_is_named(wav_file: Path):
    assert f"sound     {wav_file.name}" in run(wav_file).stdout


def test_a_picture_is_no_sound(png_file: Path):
    result = run(png_file)
    assert (result.exit_code, "/soundtrack/artifact_id: this artifact has no sound" in result.stderr) == (1, True)


def test_a_file_that_no_server_would_take_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("do not forget the milk")
    assert run(tmp_path / "notes.txt").exit_code == 1


def test_a_model_that_starts_from_a_picture_takes_one(png_file: Path):
    assert run_with_picture(png_file).exit_code == 0


def test_a_sound_is_no_picture(wav_file: Path):
    result = run_with_picture(wav_file)
    assert (result.exit_code, "/clips/0/conditions/0" in result.stderr) == (1, True)


def sound_lines(*options: str) -> list[str]:
    planned = CliRunner().invoke(app, ["plan", "a fox", "--model", "veo-3.1", *options]).stdout
    return [line.split(maxsplit=1)[1] for line in planned.splitlines() if line.strip().startswith("sound ")]


def test_a_plan_says_whether_the_reel_has_the_sound_of_its_clips(wav_file: Path):
    assert sound_lines() == ["the sound of the clips"]
    assert sound_lines("--audio", str(wav_file)) == [f"{wav_file.name}, mixed with the sound of the clips"]
    assert sound_lines("--clip-sound", "drop") == []


def test_what_becomes_of_the_sound_of_clips_is_one_of_two_words():
    refused = CliRunner().invoke(app, ["plan", "a fox", "--clip-sound", "mute"])
    assert refused.exit_code == 2
    assert {"'keep'", "'drop'"} <= set(refused.stderr.replace(",", " ").replace(".", " ").split())
