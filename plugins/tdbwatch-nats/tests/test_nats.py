"""What users see of the sink: what it publishes, what it refuses, what it says when it cannot."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from pydantic import ValidationError
from tdbwatch.plugin import DELIVERED, Outcome, Rejected, Retry
from tdbwatch.testing import Program, deliver, free_port, make_event, program_path

from tdbwatch_nats import NatsSink

BATCH = [make_event("alerts", "disk-full", [f"db{n}", 90 + n]) for n in range(3)]
Ask = Callable[..., Any]


@pytest.fixture
def options(server: Program, stream: str) -> dict[str, Any]:
    return {"servers": [f"nats://127.0.0.1:{server.port}"], "timeout": "10s"}


def only(outcomes: list[Outcome]) -> Outcome:
    assert len(set(outcomes)) == 1, outcomes
    return outcomes[0]


def paused(outcomes: list[Outcome]) -> str:
    """The reason of a pause."""
    outcome = only(outcomes)
    assert isinstance(outcome, Retry)
    assert outcome.pause
    return outcome.reason


def tried_again(outcomes: list[Outcome]) -> str:
    outcome = only(outcomes)
    assert isinstance(outcome, Retry)
    assert not outcome.pause
    return outcome.reason


async def messages(js: JetStreamContext) -> list[Any]:
    count = (await js.stream_info("EVENTS")).state.messages
    return [await js.get_msg("EVENTS", number) for number in range(1, count + 1)]


def test_a_message_is_the_record_and_its_id_the_events(options: dict[str, Any], ask: Ask) -> None:
    assert deliver(NatsSink, BATCH, options) == [DELIVERED] * 3
    found = ask(messages)
    assert [json.loads(one.data) for one in found] == [event.record() for event in BATCH]
    assert [one.headers["Nats-Msg-Id"] for one in found] == [event.id for event in BATCH]
    assert {one.subject for one in found} == {"tdbwatch.alerts"}


def test_what_comes_twice_is_in_the_stream_once(options: dict[str, Any], ask: Ask) -> None:
    for _ in range(2):
        assert deliver(NatsSink, BATCH, options) == [DELIVERED] * 3
    assert len(ask(messages)) == 3


def test_what_an_event_says_cannot_leave_its_part_of_the_subject(options: dict[str, Any], ask: Ask) -> None:
    events = [make_event(room, "x") for room in ("a b", "*", ">", "$JS.API", "x\r\nPUB y 0", "ä")]
    assert deliver(NatsSink, events, options) == [DELIVERED] * 6
    subjects = [one.subject for one in ask(messages)]
    encoded = ["a%20b", "%2A", "%3E", "%24JS.API", "x%0D%0APUB%20y%200", "%C3%A4"]
    assert subjects == [f"tdbwatch.{name}" for name in encoded]


@pytest.mark.parametrize("room", ["", ".", "..", "a..b", ".a"])
def test_what_makes_no_subject_is_rejected(room: str, options: dict[str, Any]) -> None:
    before, poison, after = deliver(NatsSink, [BATCH[0], make_event(room, "x"), BATCH[1]], options)
    assert (before, after) == (DELIVERED, DELIVERED)
    assert isinstance(poison, Rejected)
    assert "its subject" in poison.reason


def test_what_is_larger_than_the_server_takes_is_rejected(options: dict[str, Any], ask: Ask) -> None:
    """Sent, it would end the connection, and the other messages with it."""
    events = [make_event("alerts", "large", ["x" * (2**20 - size)]) for size in range(100, 400, 50)]
    outcomes = deliver(NatsSink, events, options)
    rejected = [one for one in outcomes if isinstance(one, Rejected)]
    assert 0 < len(rejected) < 6
    assert "and the server takes 1,048,576" in rejected[0].reason
    assert len(ask(messages)) == outcomes.count(DELIVERED) == 6 - len(rejected)


def test_a_message_that_the_stream_does_not_take_is_rejected(options: dict[str, Any], ask: Ask) -> None:
    config = StreamConfig(name="EVENTS", subjects=["tdbwatch.>"], max_msg_size=1000)
    ask(lambda js: js.update_stream(config))
    outcomes = deliver(NatsSink, [BATCH[0], make_event("alerts", "x", ["x" * 1000]), BATCH[1]], options)
    assert (outcomes[0], outcomes[2]) == (DELIVERED, DELIVERED)
    assert outcomes[1] == Rejected("message size exceeds maximum allowed (10054)")


def test_a_subject_that_no_stream_takes_is_tried_again(options: dict[str, Any]) -> None:
    assert "nats stream add" in tried_again(deliver(NatsSink, BATCH[0], {**options, "subject": "other"}))


def test_another_stream_than_the_one_that_is_named_pauses_the_sink(options: dict[str, Any]) -> None:
    assert "mend `stream`" in paused(deliver(NatsSink, BATCH[0], {**options, "stream": "OTHER"}))


def test_servers_that_are_not_there_are_tried_again() -> None:
    servers = [f"nats://127.0.0.1:{free_port()}" for _ in range(2)]
    assert "Connect call failed" in tried_again(deliver(NatsSink, BATCH[0], {"servers": servers}))


def test_one_server_that_is_there_is_enough(options: dict[str, Any]) -> None:
    servers = [f"nats://127.0.0.1:{free_port()}", *options["servers"]]
    assert deliver(NatsSink, BATCH, {**options, "servers": servers}) == [DELIVERED] * 3


def test_tls_that_is_asked_for_is_not_done_without(options: dict[str, Any]) -> None:
    servers = [address.replace("nats://", "tls://") for address in options["servers"]]
    reason = tried_again(deliver(NatsSink, BATCH[0], {**options, "servers": servers, "token": "sesame-open"}))
    assert "secure connection not available" in reason


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server with TLS and users, and its certificate."""
    cert, key, port = tmp_path / "cert.pem", tmp_path / "key.pem", free_port()
    make = [program_path("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    about = ["-subj", "/CN=nats", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run([*make, "-nodes", *about], check=True, capture_output=True)
    config = tmp_path / "nats.conf"
    config.write_text(
        f"listen: 127.0.0.1:{port}\njetstream: {{store_dir: {tmp_path}/js}}\n"
        f"tls: {{cert_file: {cert}, key_file: {key}}}\n"
        "authorization: {users: [{user: in, password: sesame-open},"
        ' {user: reader, password: sesame-open, permissions: {publish: {deny: ["tdbwatch.>"]}}}]}\n'
    )
    with Program([program_path("nats-server"), "-c", str(config)], port, tmp_path):
        yield port, cert


def test_who_answers_is_verified_and_who_asks_too(guarded: tuple[int, Path]) -> None:
    port, cert = guarded
    server = {"servers": [f"tls://127.0.0.1:{port}"], "tls": {"ca_file": str(cert)}}
    user = {"username": "in", "password": "sesame-open"}
    assert "nats stream add" in tried_again(deliver(NatsSink, BATCH[0], {**server, **user}))
    unverified = deliver(NatsSink, BATCH[0], {"servers": server["servers"], **user})
    assert "CERTIFICATE_VERIFY_FAILED" in tried_again(unverified)
    wrong = {**server, **user, "password": "wrong-one"}
    until = time.monotonic() + 20
    while not (isinstance(answer := only(deliver(NatsSink, BATCH[0], wrong)), Retry) and answer.pause):
        assert "wrong-one" not in str(answer)
        assert time.monotonic() < until, answer  # the connection may end before the server's word is read
    assert "Authorization" in answer.reason
    assert "wrong-one" not in answer.reason
    reader = {"username": "reader", "password": "sesame-open"}
    assert "right to publish" in paused(deliver(NatsSink, BATCH[0], {**server, **reader}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "servers"),
        ({"servers": []}, "servers"),
        ({"servers": ["localhost:4222"]}, "this is no address of a NATS server; write for instance nats://"),
        ({"servers": ["nats://in:sesame-open@h"]}, "write username and password, or token"),
        ({"servers": ["http://h"]}, "this is no address of a NATS server"),
        ({"subject": "a.*"}, "this is no subject to publish to"),
        ({"subject": "a..{{ room }}"}, "this is no subject to publish to"),
        ({"subject": "a.{{ rom }}"}, "did you mean room?"),
        ({"stream": "a.b"}, "this is no name of a stream"),
        ({"token": "t", "username": "u", "password": "p"}, "there are a token and a user"),
        ({"username": "u"}, "username and password belong together"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    servers = {"servers": ["nats://h"]} if options else {}
    with pytest.raises(ValidationError, match=said) as caught:
        deliver(NatsSink, BATCH[0], {**servers, **options})
    assert "sesame-open" not in str(caught.value)
