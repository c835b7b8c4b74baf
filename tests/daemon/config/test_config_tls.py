"""TLS files that make no context are found before anything starts, with their place."""

from pathlib import Path

import pytest

from tdbwatch.cli import app
from tdbwatch.daemon.config import Config, ConfigError, parse
from tdbwatch.daemon.config.document import Document

from .config_kit import sink_types

NODES = "thingsdb: {nodes: ['wss://a'], auth: {token: t0ken}, tls: {ca_file: ca.pem}}\nrooms: [a]\n"
TYPES = sink_types()
CERTIFICATE = Path(__file__).parents[2] / "node/tls/cert.pem"


def document(folder: Path, text: str) -> Document:
    return parse(text.encode(), str(folder / "prod.yaml"), {})


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file or directory"), ("no certificate", "no certificate")]
)
def test_files_for_nodes_that_cannot_be_used_are_refused(
    tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    text = NODES + "sinks: {s: {type: log}}\n"
    read = document(tmp_path, text)
    for find in (read.sections, lambda: read.config(TYPES), lambda: read.check(TYPES)):
        with pytest.raises(ConfigError) as caught:
            find()
        (problem,) = caught.value.problems
        assert (problem.path, problem.line) == ("thingsdb.tls", 1)
        assert said in problem.message
        assert str(tmp_path / "ca.pem") in problem.message
    (tmp_path / "prod.yaml").write_text(text)
    for command in (["run"], ["check"], ["emit", "a", "x"]):
        assert app.main([*command, "--config", str(tmp_path / "prod.yaml")]) == 78
        assert "thingsdb.tls: the files cannot be used" in capsys.readouterr().err


def test_a_secret_that_is_rotated_does_not_wait_for_nodes_certificates_that_are_half_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE.read_text())
    (tmp_path / "key").write_text("first-secret")
    sinks = "sinks: {s: {type: webhook, url: 'https://a/', secret_file: key}}\n"
    config = document(tmp_path, NODES + sinks).config(TYPES)
    assert config.rotating is not None
    (tmp_path / "ca.pem").write_text("half written")
    (tmp_path / "key").write_text("second-secret")
    found: Config = config.rotating.read_again()
    assert found.rotating is not None
    assert [secret.get_secret_value() for secret in found.rotating.secrets.values()] == ["second-secret"]


def test_those_of_a_sink_are_a_warning_since_no_other_sink_fails_with_it(tmp_path: Path) -> None:
    sinks = "sinks: {s: {type: webhook, url: 'https://a/', tls: {ca_file: none.pem}}, l: {type: log}}\n"
    text = "thingsdb: {nodes: [a], auth: {token: t0ken}}\nrooms: [a]\n" + sinks
    (warning,) = document(tmp_path, text).config(TYPES).warnings
    assert (warning.path, warning.line) == ("sinks.s.tls", 3)
    assert warning.message.startswith("the files cannot be used now: No such file")


@pytest.mark.parametrize("key", ["tls: {ca_file: %s}", "tls: {cert_file: %s}"])
def test_a_path_with_a_nul_character_is_refused_wherever_it_stands(tmp_path: Path, key: str) -> None:
    nul = r'"a\0b"'
    hook = "sinks: {s: {type: webhook, url: 'https://a/', " + key % nul + "}}\n"
    node = "thingsdb: {nodes: ['wss://a'], auth: {token: t0ken}, " + key % nul + "}\n"
    for text in (
        "thingsdb: {nodes: [a], auth: {token: t0ken}}\nrooms: [a]\n" + hook,
        node + "rooms: [a]\nsinks: {s: {type: log}}\n",
    ):
        with pytest.raises(ConfigError, match="a path holds no NUL character"):
            document(tmp_path, text).config(TYPES)
