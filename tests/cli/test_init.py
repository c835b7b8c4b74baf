"""`tdbwatch init` writes a configuration that is fine, whatever is answered."""

import shlex
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tdbwatch.cli import app
from tdbwatch.cli.config.init import starter


def test_the_defaults_are_a_configuration_without_doubts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.main(["init", "--defaults"]) == 0
    assert "Next: tdbwatch check --connect --config tdbwatch.yaml" in capsys.readouterr().out
    assert stat.S_IMODE((tmp_path / "tdbwatch.yaml").stat().st_mode) == 0o600
    assert app.main(["check", "--strict", "--config", "tdbwatch.yaml"]) == 0
    assert "fine: 1 node, 1 room, 2 sinks, no routes" in capsys.readouterr().out


def test_a_path_with_spaces_can_be_pasted_and_standard_output_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder := tmp_path / "über uns").mkdir()
    monkeypatch.chdir(folder)
    assert app.main(["init", "--defaults", "my prod.yaml"]) == 0
    words = shlex.split(capsys.readouterr().out.partition("Next: tdbwatch ")[2])
    assert app.main([word for word in words if word != "--connect"]) == 0
    assert app.main(["init", "--defaults", "-"]) == 64
    assert [file.name for file in folder.iterdir()] == ["my prod.yaml"]


def test_what_is_answered_is_in_it() -> None:
    answers = {
        "addresses of the nodes, with spaces between": "node01 wss://node02:9270",
        "collection": "//ops",
        "rooms": "alerts, deploys",
        "file with a token (empty: log in as a user)": "/etc/tdbwatch/token",
        "URL to send events to (empty: none)": "https://example.org/hook",
        "program to run for each event, with its arguments (empty: none)": "/bin/logger -t 'a b' {{room}}",
    }
    made = yaml.safe_load(starter(Path("prod.yaml"), answers.get))
    assert made["thingsdb"] == {
        "nodes": ["node01", "wss://node02:9270"],
        "auth": {"token_file": "/etc/tdbwatch/token"},
        "scope": "//ops",
    }
    assert made["rooms"] == ["alerts", "deploys"]
    assert made["sinks"]["hook"]["url"] == "https://example.org/hook"
    command = ["/bin/logger", "-t", "a b", "{{room}}"]
    assert made["sinks"]["program"] == {"type": "exec", "command": command}
    assert list(made["sinks"]) == ["console", "file", "hook", "program"]


@example("FALSE")
@example("null")
@example("2026-11-27")
@example("1_000")
@example("it's")
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_no_answer_breaks_the_file(text: str) -> None:
    asks = ("user", "program")
    made = yaml.safe_load(
        starter(Path("prod.yaml"), lambda question, usual: text if question.startswith(asks) else usual)
    )
    assert made["thingsdb"]["auth"]["username"] == text
    assert all(type(word) is str for word in made["sinks"]["program"]["command"])


def test_what_is_there_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prod.yaml").write_text("mine")
    assert app.main(["init", "--defaults", str(tmp_path / "prod.yaml")]) == 73
    assert "is there already; remove it, or name another file" in capsys.readouterr().err
    assert (tmp_path / "prod.yaml").read_text() == "mine"


def test_without_a_terminal_it_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert app.main(["init", str(tmp_path / "prod.yaml")]) == 64
    assert "give --defaults" in capsys.readouterr().err
