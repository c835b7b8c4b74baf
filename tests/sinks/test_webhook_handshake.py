"""Asking a receiver for its consent before anything is sent."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from tdbwatch.plugin import DELIVERED, Retry
from tdbwatch.sinks.webhook import WebhookOptions
from tdbwatch.sinks.webhook.handshake import NoConsentError
from tdbwatch.testing import ManualClock

from .webhook_bench import Opened, events

OURS = {"origin": "watch.example.org"}


def consenting(endpoint: Any, status: int = 200, **headers: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        named = {f"WebHook-Allowed-{name}": value for name, value in headers.items()}
        return web.Response(status=status if request.method == "OPTIONS" else 200, headers=named)

    endpoint.answer = answer


@pytest.mark.parametrize("allowed", ["watch.example.org", "Watch.Example.ORG", "*"])
@pytest.mark.parametrize("status", [200, 204, 405])
async def test_events_are_sent_to_who_consents_whatever_the_status(
    endpoint: Any, opened: Opened, allowed: str, status: int
) -> None:
    consenting(endpoint, status, Origin=allowed)
    async with opened(handshake={**OURS, "rate": 120}) as sink:
        assert await sink.deliver(events(2)) == [DELIVERED] * 2
    asked, *sent = endpoint.received
    assert asked.method == "OPTIONS"
    assert asked.headers["webhook-request-origin"] == "watch.example.org"
    assert asked.headers["webhook-request-rate"] == "120"
    assert not asked.body
    assert [(one.method, one.headers["origin"]) for one in sent] == [("POST", "watch.example.org")] * 2


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "other.example"}, {"Rate": "10"}, {"Origin": "*", "Rate": "0"}]
)
async def test_nothing_is_sent_to_who_does_not(
    endpoint: Any, opened: Opened, headers: dict[str, str]
) -> None:
    consenting(endpoint, **headers)
    with pytest.raises(NoConsentError, match="the receiver"):
        async with opened(handshake=OURS):
            pass
    assert [one.method for one in endpoint.received] == ["OPTIONS"]


async def test_a_receiver_that_cannot_be_asked_is_told_without_its_path(
    opened: Opened, closed_port: int
) -> None:
    with pytest.raises(ConnectionError, match="cannot connect: Connection refused") as caught:
        async with opened(url=f"http://127.0.0.1:{closed_port}/t0ken", handshake=OURS):
            pass
    assert "t0ken" not in str(caught.value)


async def test_the_rate_that_is_allowed_is_kept_to(endpoint: Any, opened: Opened, clock: ManualClock) -> None:
    consenting(endpoint, Origin="*", Rate="60")
    async with opened(handshake=OURS) as sink:
        delivering = asyncio.create_task(sink.deliver(events(3)))
        for sent in (1, 2, 3):
            while len(endpoint.received) < 1 + sent:
                await asyncio.sleep(0.001)
            while not (clock.sleepers or delivering.done()):
                await asyncio.sleep(0.001)
            assert len(endpoint.received) == 1 + sent
            await clock.advance(1.0)
        assert await delivering == [DELIVERED] * 3


async def test_what_the_rate_leaves_no_time_for_waits(endpoint: Any, opened: Opened) -> None:
    consenting(endpoint, Origin="*", Rate="1")
    batch = events(2)
    async with opened(handshake=OURS) as sink:
        assert await sink.deliver(batch) == [DELIVERED], "the other is left for the next call"
        assert await sink.deliver(batch[1:]) == Retry("the receiver allows a request each 60 s", 60.0)


@pytest.mark.parametrize("origin", ["", "https://watch.example.org", "a b", "x\r\nY: z", "x" * 300])
def test_an_origin_is_a_name(origin: str) -> None:
    with pytest.raises(ValidationError, match="DNS name"):
        WebhookOptions.model_validate({"url": "http://host/", "handshake": {"origin": origin}}, strict=False)
