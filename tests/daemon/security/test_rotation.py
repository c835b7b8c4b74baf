"""Sinks' secrets that are rotated while the daemon runs: no restart, which would make a gap."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tdbwatch.daemon.config import Config, load
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.security.rotation import Rotation
from tdbwatch.daemon.status.port.access import shows
from tdbwatch.redaction import redact
from tdbwatch.sinks.webhook import WebhookOptions
from tdbwatch.testing import ManualClock

TEXT = """\
thingsdb:
  nodes: [node01]
  auth: {token: t0ken}
rooms: [alerts]
sinks:
  hook:
    type: webhook
    url: https://hooks.example.com/
    auth: {bearer_file: bearer}
    headers: {X-Api-Key: {file: key}}
spool: {path: spool.db}
shutdown: {grace: 1s}
"""


def written(folder: Path) -> Config:
    (folder / "prod.yaml").write_text(TEXT)
    for name, secret in (("bearer", "b3arer"), ("key", "k3y-0ld")):
        (folder / name).write_text(secret + "\n")
    return load(folder / "prod.yaml", load_plugins([]).sink_types)


def rotation(config: Config) -> Rotation:
    assert config.rotating is not None
    return Rotation(config.rotating, ManualClock())


def test_secrets_whose_files_changed_are_the_new_ones_wherever_they_are_used(tmp_path: Path) -> None:
    config = written(tmp_path)
    fresh = rotation(config)
    for name in ("bearer", "key"):
        (tmp_path / name).write_text(f"n3w-{name}\n")
    with capture_logs() as logs:
        fresh.look()
        fresh.look()
    [options] = [sink.options for sink in config.sinks]
    assert isinstance(options, WebhookOptions)
    assert options.present_secrets == ("https://hooks.example.com/", "n3w-bearer", "n3w-key")
    assert sorted((line["event"], line["file"]) for line in logs) == [
        ("config.secret_renewed", str(tmp_path / name)) for name in ("bearer", "key")
    ]
    assert "n3w" not in f"{logs} {config!r}"
    assert redact("it says n3w-bearer") == "it says **********"


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"", "is empty"), (b"a\x01b", "a control character")]
)
def test_a_new_secret_that_cannot_be_used_leaves_the_old_one_and_is_said_once(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    config = written(tmp_path)
    fresh = rotation(config)
    bearer = tmp_path / "bearer"
    bearer.unlink()
    if content is not None:
        bearer.write_bytes(content)
    with capture_logs() as logs:
        fresh.look()
        fresh.look()
    [options] = [sink.options for sink in config.sinks]
    assert isinstance(options, WebhookOptions)
    assert options.present_secrets[1] == "b3arer"
    [line] = logs
    assert line["event"] == "config.secret_unusable"
    assert line["key"].startswith("sinks.hook.auth.bearer")
    assert said in line["reason"]
    assert line["place"].endswith("prod.yaml:9:25")
    bearer.write_text("b3tter")
    fresh.look()
    assert options.present_secrets[1] == "b3tter"


def test_the_token_of_the_status_port_changes_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "http").write_text("0ld-and-secret-token\n")
    with_http = TEXT + "http: {listen: '127.0.0.1:0', token_file: http}\n"
    (tmp_path / "bearer").write_text("b3arer\n")
    (tmp_path / "key").write_text("k3y-0ld\n")
    (tmp_path / "prod.yaml").write_text(with_http)
    config = load(tmp_path / "prod.yaml", load_plugins([]).sink_types)
    fresh = rotation(config)
    (tmp_path / "http").write_text("n3w-and-secret-token\n")
    fresh.look()
    assert config.http is not None
    assert shows(config.http.token, ["Bearer n3w-and-secret-token"])
    assert not shows(config.http.token, ["Bearer 0ld-and-secret-token"])
    assert redact("n3w-and-secret-token") == "**********"
