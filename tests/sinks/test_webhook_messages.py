"""The webhook sink: signatures, CloudEvents and batches, checked with the public libraries."""

import base64
import json
from math import nan
from typing import Any

import pytest
import standardwebhooks
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tdbwatch.plugin import DELIVERED, Event, Rejected, Retry
from tdbwatch.sinks.webhook.messages import structured
from tdbwatch.sinks.webhook.signing import signer_of
from tdbwatch.testing import ManualClock

from .webhook_bench import OTHER, WHSEC, Opened, events


@pytest.mark.parametrize("secret", [WHSEC, WHSEC.rstrip("="), "just a raw secret of some length"])
async def test_signatures_verify_with_the_public_library(endpoint: Any, opened: Opened, secret: str) -> None:
    event = Event.create("alerts", "überlauf", ["dät"])
    async with opened(system_clock=True, secret=secret) as sink:
        assert await sink.deliver([event]) == [DELIVERED]
    (request,) = endpoint.received
    verifier = standardwebhooks.Webhook(secret if secret.startswith("whsec_") else secret.encode())
    assert verifier.verify(request.body, request.headers) == event.record()
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(request.body, request.headers)


async def test_while_secrets_change_both_verify(endpoint: Any, opened: Opened) -> None:
    async with opened(system_clock=True, secret=[OTHER, WHSEC], format="batch") as sink:
        await sink.deliver(events(3))
    (request,) = endpoint.received
    for secret in (WHSEC, OTHER):
        assert len(standardwebhooks.Webhook(secret).verify(request.body, request.headers)) == 3


async def test_every_attempt_carries_the_same_id_and_its_own_time(
    endpoint: Any, opened: Opened, clock: ManualClock
) -> None:
    endpoint.answers_in_turn(503, 200)
    batch = events(1)
    async with opened(secret=WHSEC) as sink:
        await sink.deliver(batch)
        await clock.advance(100)
        await sink.deliver(batch)
    first, second = endpoint.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 100
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize("form", ["cloudevents", "cloudevents-binary"])
@pytest.mark.parametrize("source", [None, "urn:example:ops"])
async def test_cloudevents_parse_with_the_public_library(
    endpoint: Any, opened: Opened, form: str, source: str | None
) -> None:
    event = Event.create('alärms "1" 100%25', "disk full\n", [b"\0", nan, 2**64 - 1, "日本"], room_id=3)
    async with opened(format=form, source=source) as sink:
        assert await sink.deliver([event]) == [DELIVERED]
    (request,) = endpoint.received
    parsed = from_http_event(HTTPMessage(request.headers, request.body))
    assert parsed.get_id() == event.id
    assert parsed.get_source() == (source or "tdbwatch://stuff")
    assert parsed.get_type() == r"tdbwatch.event.disk full\n"  # attributes may hold no control characters
    assert parsed.get_subject() == 'alärms "1" 100%25'
    assert parsed.get_time() == event.time
    assert parsed.get_specversion() == "1.0"
    assert parsed.get_datacontenttype() == "application/json"
    assert parsed.get_data() == event.record()
    assert parsed.get_data()["event"] == "disk full\n"
    assert parsed.get_data()["args"] == [{"base64": "AA=="}, "NaN", 2**64 - 1, "日本"]


async def test_a_record_without_names_makes_a_valid_cloudevent(endpoint: Any, opened: Opened) -> None:
    gap = Event.create(
        "", "", kind="gap", scope="//stuff", details={"reason": "reconnected", "dropped": None}
    )
    async with opened(format="cloudevents") as sink:
        await sink.deliver([gap])
    (request,) = endpoint.received
    parsed = from_http_event(HTTPMessage(request.headers, request.body))
    assert parsed.get_type() == "tdbwatch.gap"
    assert parsed.get_subject() is None
    assert parsed.get_data()["reason"] == "reconnected"


async def test_a_batch_of_cloudevents_parses_one_by_one(endpoint: Any, opened: Opened) -> None:
    batch = events(3)
    async with opened(format="cloudevents-batch") as sink:
        assert await sink.deliver(batch) == [DELIVERED] * 3
    (request,) = endpoint.received
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    for event, item in zip(batch, json.loads(request.body), strict=True):
        message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(item).encode())
        assert from_http_event(message).get_id() == event.id


async def test_a_batch_of_records_is_an_array_with_an_id_of_its_own(endpoint: Any, opened: Opened) -> None:
    batch = events(3)
    async with opened(format="batch") as sink:
        assert await sink.deliver(batch) == [DELIVERED] * 3
        assert await sink.deliver(batch) == [DELIVERED] * 3
        assert await sink.deliver(batch[:2]) == [DELIVERED] * 2
        assert await sink.deliver(batch[:1]) == [DELIVERED]
    ids = [request.headers["webhook-id"] for request in endpoint.received]
    assert json.loads(endpoint.received[0].body) == [event.record() for event in batch]
    assert ids[0] == ids[1] != ids[2]
    assert ids[3] == batch[0].id
    assert all("." not in one for one in ids)


async def test_a_batch_to_be_tried_again_is_so_as_a_whole(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(503)
    async with opened(format="batch") as sink:
        assert await sink.deliver(events(3)) == [Retry("HTTP 503")] * 3
    assert len(endpoint.received) == 1


async def test_one_poison_event_does_not_take_its_batch_with_it(endpoint: Any, opened: Opened) -> None:
    batch = events(8)
    taken: list[str] = []

    async def picky(request: web.Request) -> web.StreamResponse:
        ids = [item["id"] for item in json.loads(await request.read())]
        if batch[5].id in ids:
            return web.Response(status=400, text="bad item")
        taken.extend(ids)
        return web.Response()

    endpoint.answer = picky
    async with opened(format="batch") as sink:
        outcomes = await sink.deliver(batch)
    assert outcomes == [Rejected("HTTP 400: bad item") if n == 5 else DELIVERED for n in range(8)]
    assert taken == [event.id for n, event in enumerate(batch) if n != 5]


async def test_the_second_half_of_a_batch_is_left_when_the_first_took_too_long(
    endpoint: Any, opened: Opened, clock: ManualClock
) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        if len(json.loads(await request.read())) == 4:
            return web.Response(status=413)
        await clock.advance(12)
        return web.Response()

    endpoint.answer = slow
    async with opened(format="batch", timeout="20s") as sink:
        assert await sink.deliver(events(4)) == [DELIVERED] * 2
    assert len(endpoint.received) == 2


async def test_a_batch_refused_for_its_credentials_is_not_taken_apart(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(401)
    async with opened(format="batch") as sink:
        answer = await sink.deliver(events(4))
    assert isinstance(answer, Retry)
    assert answer.pause
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("tail", ["", "public"])
async def test_an_ed25519_signature_verifies_with_the_public_key(
    endpoint: Any, opened: Opened, tail: str
) -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    key = private.private_bytes_raw() + (public.public_bytes_raw() if tail else b"")
    secret = [f"whsk_{base64.b64encode(key).decode()}", WHSEC]
    async with opened(secret=secret, format="standard") as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    (request,) = endpoint.received
    asymmetric, symmetric = request.headers["webhook-signature"].split(" ")
    signed = (
        f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    )
    assert asymmetric.startswith("v1a,")
    public.verify(base64.b64decode(asymmetric.removeprefix("v1a,")), signed)
    assert symmetric.startswith("v1,")


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("whpk_" + "A" * 44, "this is a public key"),
        ("whsk_" + "A" * 8, "has 32 bytes; this one has 6"),
        ("whsk_?", "not base64"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_without_showing_it(secret: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        signer_of(secret)
    assert secret not in str(caught.value)


async def test_the_standards_own_body_has_type_time_and_data(endpoint: Any, opened: Opened) -> None:
    event = Event.create("alerts", "disk-full", ["db1", 91])
    async with opened(format="standard") as sink:
        assert await sink.deliver([event]) == [DELIVERED]
    (request,) = endpoint.received
    record = event.record()
    assert json.loads(request.body) == {
        "type": "tdbwatch.event.disk-full",
        "timestamp": record["time"],
        "data": record,
    }
    assert request.headers["content-type"] == "application/json"


def test_cloudevents_say_what_is_in_order_and_how() -> None:
    first, second = (structured(event, None).body for event in events(2))
    one, two = json.loads(first), json.loads(second)
    assert one["partitionkey"] == two["partitionkey"] == "//stuff/alerts"
    assert one["sequence"] < two["sequence"]
    node = Event.create("", "READY", kind="node", scope="", details={"node": "n1:9200"})
    assert "partitionkey" not in json.loads(structured(node, None).body)
