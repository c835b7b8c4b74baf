"""A webhook's body, headers and URL are templates over the event."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tdbwatch.plugin import DELIVERED, Event, Rejected
from tdbwatch.sinks.webhook import WebhookOptions

from .webhook_bench import Opened, reason

EVENT = Event.create("alerts", "disk-full", [{"host": 'db"1\r\nX-Evil: 1', "used": 97}])


async def test_a_mapping_becomes_json(endpoint: Any, opened: Opened) -> None:
    body = {"text": "{{ event }} on {{ args[0].host }}", "used": "{{ args[0].used }}", "plain": True}
    async with opened(body=body) as sink:
        assert await sink.deliver([EVENT]) == [DELIVERED]
    (got,) = endpoint.received
    assert got.headers["content-type"] == "application/json"
    assert json.loads(got.body) == {"text": 'disk-full on db"1\r\nX-Evil: 1', "used": 97, "plain": True}


@pytest.mark.parametrize(
    ("options", "type_", "sent"),
    [
        ({"body": "{{ room }}: ü"}, "text/plain; charset=utf-8", "alerts: ü"),
        ({"body": "r={{ room }}", "content_type": "text/csv"}, "text/csv", "r=alerts"),
        (
            {"body": '{"r": {{ room }}}', "content_type": "application/vnd.x+json"},
            "application/vnd.x+json",
            '{"r": "alerts"}',
        ),
    ],
)
async def test_a_text_is_sent_as_what_its_type_says(
    endpoint: Any, opened: Opened, options: dict[str, Any], type_: str, sent: str
) -> None:
    async with opened(**options) as sink:
        assert await sink.deliver([EVENT]) == [DELIVERED]
    (got,) = endpoint.received
    assert (got.headers["content-type"], got.body.decode()) == (type_, sent)


async def test_one_header_stays_one_header_and_one_part_of_a_path_one_part(
    endpoint: Any, opened: Opened
) -> None:
    url = endpoint.url + "/{{ args[0].host }}?host={{ args[0].host }}"
    async with opened(url=url, headers={"X-Host": "on {{ args[0].host }}", "X-Plain": "p"}) as sink:
        assert await sink.deliver([EVENT]) == [DELIVERED]
    (got,) = endpoint.received
    assert got.path == "/hook/db%221%0D%0AX-Evil%3A%201?host=db%221%0D%0AX-Evil%3A%201"
    assert (got.headers["x-host"], got.headers["x-plain"]) == ('on db"1 X-Evil: 1', "p")
    assert "x-evil" not in got.headers
    assert json.loads(got.body) == EVENT.record()


async def test_templates_and_signatures_go_together(endpoint: Any, opened: Opened) -> None:
    async with opened(body={"r": "{{ room }}"}, secret="a raw secret that is long enough") as sink:
        assert await sink.deliver([EVENT]) == [DELIVERED]
    assert endpoint.received[0].headers["webhook-signature"].startswith("v1,")


async def test_an_event_that_a_template_fails_for_is_rejected_and_the_next_one_goes(
    endpoint: Any, opened: Opened
) -> None:
    url = endpoint.url + "/{{ event }}"
    async with opened(url=url) as sink:
        bad, good = await sink.deliver([Event.create("alerts", ".."), EVENT])
    assert isinstance(bad, Rejected)
    assert "its templates fail for this event: '..' as a part of a URL's path would lead elsewhere" in reason(
        bad
    )
    assert good == DELIVERED
    assert [got.path for got in endpoint.received] == ["/hook/disk-full"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "https://{{ room }}.example.org/"}, "only what follows the host may be a template"),
        ({"url": "https://a:{{ room }}@example.org/"}, "only what follows the host may be a template"),
        ({"url": "https://example.org/{{ rom }}"}, "did you mean room?"),
        ({"headers": {"X-A": "{{ rom }}"}}, "the header X-A: there is no 'rom' here"),
        ({"body": {"a": ["{{ rom }}"]}}, "a[0]: there is no 'rom' here; did you mean room?"),
        ({"body": "{{ room }}", "format": "cloudevents"}, "body says what to send, and so does format"),
        ({"content_type": "text/csv"}, "content_type is for a body that is text"),
        ({"body": {"a": 1}, "content_type": "text/csv"}, "content_type is for a body that is text"),
        ({"body": "x", "content_type": "a\nb"}, "this is no media type"),
        (
            {"body": '{"a": "{{ room }}"}', "content_type": "application/json"},
            "values bring their own quotes",
        ),
        ({"headers": {"X-A": "{{ room }}"}, "format": "batch"}, "sends many events at once"),
    ],
)
def test_what_is_wrong_is_refused_when_the_configuration_is_read(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        WebhookOptions.model_validate_json(json.dumps({"url": "https://example.org/x", **options}))
    assert said in str(error.value)
