"""`phoenix storyboard`: from an idea to a file, with a language model and without one, on a server of its own."""

from pathlib import Path

from fixtures.llm_server import LlmServer, refusal, script_of, spoken
from fixtures.up_process import PhoenixStarter

SHORT = ("--duration", "1", "--generate", "-o", "reel.mp4")


def is_mp4(path: Path) -> bool:
    return path.read_bytes()[4:8] == b"ftyp"


def test_an_idea_that_a_language_model_writes_and_changes_becomes_a_file(
    start_phoenix: PhoenixStarter, llm_server: LlmServer, tmp_path: Path
) -> None:
    first, second = script_of("a red balloon", "the sea"), script_of("a red balloon", "the sea at night")
    llm_server.script = [spoken(first), spoken(second)]
    llm = {"PHOENIX_LLM__BASE_URL": llm_server.url, "PHOENIX_LLM__MODEL": "scripted"}

    run = start_phoenix("storyboard", "a balloon finds the sea", "--refine", "at night", *SHORT, **llm)

    assert run.wait() == 0, run.log
    output = run.output().splitlines()
    assert "by a language model" in output[0]
    assert "the sea at night." in output[2]
    assert output[-1] == "reel.mp4"
    assert is_mp4(tmp_path / "reel.mp4")


def test_without_a_language_model_a_template_writes_it(start_phoenix: PhoenixStarter, tmp_path: Path) -> None:
    run = start_phoenix("storyboard", "a balloon leaves. Then it finds the sea", "--clips", "2", "--caption", *SHORT)

    assert run.wait() == 0, run.log
    output = run.output()
    assert "by a template" in output.splitlines()[0]
    assert "shown: it finds the sea" in output
    assert is_mp4(tmp_path / "reel.mp4")


def test_a_language_model_that_is_away_ends_the_command_with_the_reason(
    start_phoenix: PhoenixStarter, llm_server: LlmServer
) -> None:
    llm_server.script = [refusal(500)]
    llm = {"PHOENIX_LLM__BASE_URL": llm_server.url, "PHOENIX_LLM__MODEL": "scripted", "PHOENIX_LLM__MAX_RETRIES": "0"}

    run = start_phoenix("storyboard", "a balloon", **llm)

    assert run.wait() == 1
    assert "UNAVAILABLE" in run.log
