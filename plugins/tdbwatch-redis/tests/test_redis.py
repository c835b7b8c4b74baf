"""What users see of the sink: what it adds, what it refuses, what it says when it cannot."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from redis import Redis
from tdbwatch.plugin import DELIVERED, Outcome, Rejected, Retry, SinkContext
from tdbwatch.testing import Program, deliver, free_port, make_event, program_path

from tdbwatch_redis import RedisOptions, RedisSink

BATCH = [make_event("alerts", "disk-full", [f"db{n}", 90 + n]) for n in range(3)]


@pytest.fixture
def url(server: Program, redis: Redis) -> str:
    return f"redis://127.0.0.1:{server.port}"


def only(outcomes: list[Outcome]) -> Outcome:
    assert len(set(outcomes)) == 1, outcomes
    return outcomes[0]


def test_an_entry_has_the_record_and_what_consumers_ask_for(url: str, redis: Redis) -> None:
    assert deliver(RedisSink, BATCH, {"url": url}) == [DELIVERED] * 3
    entries = [fields for _, fields in redis.xrange("tdbwatch")]
    assert [json.loads(fields[b"record"]) for fields in entries] == [event.record() for event in BATCH]
    first = {key.decode(): value.decode() for key, value in entries[0].items() if key != b"record"}
    names = {"kind": "event", "scope": "//stuff", "room": "alerts", "event": "disk-full"}
    assert first == {"id": BATCH[0].id, **names}


def test_streams_may_be_templates(url: str, redis: Redis) -> None:
    assert deliver(RedisSink, BATCH, {"url": url, "stream": "of-{{ args[0] }}"}) == [DELIVERED] * 3
    assert sorted(redis.keys()) == [b"of-db0", b"of-db1", b"of-db2"]
    outcomes = deliver(RedisSink, BATCH[0], {"url": url, "stream": "{{ args[7] }}"})
    assert outcomes == [Rejected("the template of its stream makes no name of this event")]


def test_about_maxlen_entries_are_kept(url: str, redis: Redis) -> None:
    events = [make_event("alerts", "tick", [number]) for number in range(500)]
    deliver(RedisSink, events, {"url": url, "maxlen": 100})
    assert 100 <= redis.xlen("tdbwatch") < 300


def test_a_key_that_is_no_stream_pauses_the_sink(url: str, redis: Redis) -> None:
    redis.set("tdbwatch", "text")
    outcome = only(deliver(RedisSink, BATCH[0], {"url": url}))
    assert isinstance(outcome, Retry)
    assert outcome.pause
    assert "is no stream" in outcome.reason


@contextmanager
def asking_for_a_password(redis: Redis) -> Iterator[None]:
    redis.config_set("requirepass", "sesame-open")
    yield
    redis.config_set("requirepass", "")


def test_a_wrong_password_pauses_the_sink_until_it_is_rotated(url: str, redis: Redis) -> None:
    class Rotated(SecretStr):
        value = "wrong-one"

        def get_secret_value(self) -> str:
            return self.value

    password = Rotated("")
    options = RedisOptions.model_validate({"url": SecretStr(url), "password": password})

    async def run() -> tuple[Any, Any]:
        sink = RedisSink(options, SinkContext("test"))
        try:
            before = await sink.deliver(BATCH)
            password.value = "sesame-open"
            return before, await sink.deliver(BATCH)
        finally:
            await sink.close()

    with asking_for_a_password(redis):
        before, after = asyncio.run(run())
    assert isinstance(before, Retry)
    assert before.pause
    assert "wrong-one" not in before.reason
    assert after == [DELIVERED] * 3


def test_a_user_without_the_right_pauses_the_sink(url: str, redis: Redis) -> None:
    redis.acl_setuser("reader", enabled=True, passwords=["+p"], categories=["+@read"], keys=["*"])
    outcome = only(deliver(RedisSink, BATCH[0], {"url": url, "username": "reader", "password": "p"}))
    assert isinstance(outcome, Retry)
    assert outcome.pause
    assert "no permissions" in outcome.reason
    assert "+xadd" in outcome.reason
    assert "db0" not in outcome.reason, "what the event says is nobody's business here"


def test_a_server_that_is_not_there_is_asked_again() -> None:
    outcome = only(deliver(RedisSink, BATCH[0], {"url": f"redis://127.0.0.1:{free_port()}"}))
    assert isinstance(outcome, Retry)
    assert not outcome.pause
    assert "ConnectionError" in outcome.reason


def test_who_answers_is_verified(tmp_path: Path) -> None:
    openssl, cert, key = program_path("openssl"), str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    make = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    about = ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run([*make, *about], check=True, capture_output=True)
    port = free_port()
    tls = [
        "--tls-port",
        str(port),
        "--tls-cert-file",
        cert,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    ]
    command = [program_path("redis-server"), "--port", "0", "--bind", "127.0.0.1", "--save", "", *tls]
    with Program(command, port, tmp_path):
        url = f"rediss://127.0.0.1:{port}"
        assert deliver(RedisSink, BATCH, {"url": url, "tls": {"ca_file": cert}}) == [DELIVERED] * 3
        assert deliver(RedisSink, BATCH, {"url": url, "tls": {"verify": False}}) == [DELIVERED] * 3
        outcome = only(deliver(RedisSink, BATCH[0], {"url": url}))
        assert isinstance(outcome, Retry)
        assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "url"),
        ({"url": "localhost:6379"}, "this is no URL of a Redis server; write for instance redis://"),
        ({"url": "redis://h:port"}, "this is no URL of a Redis server"),
        ({"url": "redis://h", "stream": ""}, "a stream has a name"),
        ({"url": "redis://h", "stream": "{{ rom }}"}, "did you mean room?"),
        ({"url": "redis://h", "maxlen": 0}, "maxlen"),
        ({"url": "redis://h", "tls": {"verify": False}}, "write rediss://"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        deliver(RedisSink, BATCH[0], options)
