"""Secrets and references: where they cannot be had that is said, and none is ever shown."""

from pathlib import Path

import pytest

from .config_errors_kit import problem, problems, sink, thingsdb, with_


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("headers: {X: {file: /nowhere}}", "sinks.s.headers.X.file: cannot be read: No such file"),
        ("keys: ['a', {file: ''}]", "sinks.s.keys[1].file: must be a file's path"),
        ("headers: {X: {credential: x}}", "sinks.s.headers.X.credential: there are no systemd credentials"),
        ("headers: {X: {fil: x}}", "sinks.s.headers.X: must be text, not a mapping"),
        (
            "headers: {X-Api-Key_file: /etc/hunter2}",
            "sinks.s.headers.X-Api-Key_file: no secret is read by a key like this: its file would be sent\n"
            "    write X-Api-Key: {file: PATH}",
        ),
        ("headers: {X-Api-Key_CREDENTIAL: hunter2}", "write X-Api-Key: {credential: NAME}"),
    ],
)
def test_secrets_within(text: str, expected: str):
    shown = problem(sink(f"type: headers, {text}"))
    assert expected in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "${NOPE}",
            "sinks.s.url: the environment variable NOPE is not set\n    set it, or give a default: ${NOPE:-",
        ),
        ("${NO PE}", "a ${ that begins no reference\n    write ${NAME}"),
        ("${", "a ${ that begins no reference"),
        ("${A:-x", "a ${ that begins no reference"),
        ("${1A}", "a ${ that begins no reference"),
        ("${BAD}", "the environment variable BAD is not UTF-8 text"),
    ],
)
def test_references_that_cannot_be_resolved(text: str, expected: str):
    assert expected in problem(sink(f"type: hook, url: '{text}'"), {"BAD": "\udcff"})


def test_a_missing_variable_is_told_once_also_where_a_number_is_wanted():
    assert "connections: the environment variable N is not set" in problem(thingsdb('connections: "${N}"'))


@pytest.mark.parametrize(
    "text",
    [
        sink("type: '${S}'"),
        sink("type: hook, url: x, wait: '${S}'"),
        sink("type: hook, url: x, count: '${S}'"),
        sink("type: hook, url: x, secret: '${S}'"),
        sink("type: hook, url: x, secret: hush-hush"),
        sink("type: hook, url: '${S}', crash: true"),
        sink("type: log, on_exhausted: '${S}'"),
        sink("type: log, retry: '${S}'"),
        sink("type: log, retry: {max_age: '${S}'}"),
        with_(routes="[{to: '${S}'}]"),
        with_(routes="[{to: ['console', '${S}', '${S}']}]"),
        with_(routes="[{to: console, match: {kind: '${S}', room: '${S}['}}]"),
        with_(rooms="[{name: a, args: ['${S}', '${S}']}]"),
        with_(rooms="['${S}', '${S}']"),
        with_(http="{listen: '${S}'}"),
        with_(spool="{max_size: '${S}'}"),
        thingsdb("scope: '${S}'"),
        with_(thingsdb="{nodes: ['a b ${S}'], auth: {token: t}}"),
        with_(thingsdb="{nodes: [a], auth: {token_file: '${S}'}}"),
        with_(thingsdb="{nodes: [a], auth: {token: [hush-hush]}}"),
        with_(thingsdb="{nodes: [a], auth: {token: '${S}', username: '${S}', password: '${S}'}}"),
    ],
)
def test_no_message_shows_what_may_be_a_secret(text: str):
    shown = "\n".join(map(str, problems(text, {"S": "hush-hush"})))
    assert "hush" not in shown


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "the secret's file is empty"),
        (b"\n", "the secret's file is empty"),
        (b"\xff", "the secret's file is not UTF-8 text"),
        (b"a\0b", "holds a NUL byte"),
        (b"x" * 70_000, "cannot be read: it is larger than 64 KiB"),
    ],
)
def test_bad_secret_files(tmp_path: Path, content: bytes | None, expected: str):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    shown = problem(with_(thingsdb=f"{{nodes: [a], auth: {{token_file: '{tmp_path}/secret'}}}}"))
    assert f"thingsdb.auth.token_file: {expected}" in shown.replace("the secret's file holds", "holds")


@pytest.mark.parametrize(
    ("value", "environ", "expected"),
    [
        ("tok", {}, "CREDENTIALS_DIRECTORY is not set\n    add LoadCredential=tok:/path to the unit"),
        (
            "tok",
            {"CREDENTIALS_DIRECTORY": "/nowhere"},
            "there is no systemd credential tok\n    add LoadCredential=",
        ),
        ("../tok", {"CREDENTIALS_DIRECTORY": "/nowhere"}, "a credential's name holds no /"),
        ("5", {}, "must be the name of a systemd credential"),
    ],
)
def test_bad_credentials(value: str, environ: dict[str, str], expected: str):
    text = with_(thingsdb=f"{{nodes: [a], auth: {{token_credential: {value}}}}}")
    assert f"thingsdb.auth.token_credential: {expected}" in problem(text, environ).replace(
        "there are no systemd credentials: CRED", "CRED"
    )


def test_an_expression_from_the_environment_is_not_shown():
    text = with_(routes="[{to: console, where: '${HIDDEN}'}]")
    assert "s3cr3t" not in problem(text, {"HIDDEN": "s3cr3t_name == 1"})


HELD = {"X": "hunter2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            sink("type: webhook, url: 'https://h/{{ rom }}'"),
            "s.url: there is no 'rom' here; did you mean room?",
        ),
        (sink("type: webhook, url: 'https://h/${X}/{{ rom }}'"), "s.url: there is no 'rom' here"),
        (
            sink("type: webhook, url: 'https://h/', headers: {A: '${X} {{ room | upp }}'}"),
            "s.headers: the header A: there is no filter 'upp'",
        ),
        (
            sink("type: webhook, url: 'https://h/', body: {a: ['${X}{{ rom }}']}"),
            "s.body: a[0]: there is no 'rom' here",
        ),
        (
            sink("type: webhook, url: 'https://h/', body: '${X}{% include rom %}'"),
            "s.body: include does not work here",
        ),
        (
            with_(routes="[{to: console, where: \"args[0] == '${X}' && agrs\"}]"),
            "where: there is no 'agrs' here",
        ),
        (with_(sinks="{console: {type: log, order: \"'${X}' + agrs\"}}"), "order: there is no 'agrs' here"),
    ],
)
def test_a_name_that_is_not_there_is_told_beside_what_is_hidden(text: str, expected: str):
    shown = problem(text, HELD)
    assert expected in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "text",
    [
        sink("type: webhook, url: 'https://h/{{ ${X} }}'"),
        sink("type: webhook, url: 'https://h/', headers: {A: '{{ room | ${X} }}'}"),
        sink("type: webhook, url: 'https://h/', headers: {A: 'hunter2 {{ room }'}"),
        sink("type: webhook, url: 'https://h/', body: '${X}{{ room }'"),
        sink("type: webhook, url: 'https://h/', body: '{{ ${X} }}'"),
    ],
)
def test_a_template_that_is_wrong_otherwise_is_not_shown(text: str):
    shown = problem(text, HELD)
    assert "is no template\n    the reason is not shown" in shown
    assert "hunter2" not in shown


def test_where_a_name_stands_does_not_tell_how_long_a_secret_is():
    text = with_(routes="[{to: console, where: \"'${X}' == agrs\"}]")
    assert problem(text, HELD) == problem(text, {"X": "s3cr3t_of_another_length"})
