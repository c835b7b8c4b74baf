"""The ready bodies are what the services ask for, whatever an event says."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.config import Config, load
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.plugin import Event

FILE = Path(__file__).parents[3] / "config" / "services.yaml"
LONG = {"host": "h" * 20_000, "severity": 9, "text": "t" * 20_000}
HOSTILE = {"host": '"}]\r\n{{ 1 }}', "severity": "'", "text": None}
EVENTS = {
    "ordinary": Event.create(
        "alerts", "disk-full", [{"host": "db1", "severity": 5, "text": "97 %"}], arg_names=["alert"]
    ),
    "resolved": Event.create("alerts", "disk-ok", [{"host": "db1"}], arg_names=["alert"]),
    "bare": Event.create("alerts", "x", [], arg_names=["alert"]),
    "long": Event.create("alerts", "e" * 20_000, [LONG], arg_names=["alert"]),
    "hostile": Event.create("alerts", '"\n', [HOSTILE], arg_names=["alert"]),
    "numbers": Event.create("alerts", "x", [{"host": 5, "severity": "5", "text": 7.5}], arg_names=["alert"]),
    "gap": Event.create("alerts", "gap", kind="gap", details={"reason": "x"}),
}


@pytest.fixture(scope="module")
def config() -> Config:
    urls = {f"{name}_URL": "https://example.org/hook" for name in ("SLACK", "TEAMS", "DISCORD")}
    keys = {"THINGSDB_TOKEN": "t", "PAGERDUTY_KEY": "r0uting", "OPSGENIE_KEY": "k3y"}
    return load(FILE, load_plugins().sink_types, {**urls, **keys})


@pytest.fixture(params=EVENTS)
def body(request: pytest.FixtureRequest, config: Config) -> Any:
    """What a sink sends for an event."""

    def body(sink: str) -> Any:
        (found,) = (one.options for one in config.sinks if one.name == sink)
        return json.loads(found.body.render(EVENTS[request.param]))  # type: ignore[attr-defined]

    return body


def is_time(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None


def test_slack(body: Any) -> None:
    """Block Kit reference: a header's plain_text up to 150 characters, a section's text 1 to 3000."""
    sent = body("slack")
    header, section, context = sent["blocks"]
    assert sent["text"]
    assert (header["type"], header["text"]["type"]) == ("header", "plain_text")
    assert 1 <= len(header["text"]["text"]) <= 150
    assert (section["type"], section["text"]["type"]) == ("section", "mrkdwn")
    assert 1 <= len(section["text"]["text"]) <= 3000
    assert (context["type"], context["elements"][0]["type"]) == ("context", "mrkdwn")


def test_teams(body: Any) -> None:
    """Adaptive Cards 1.4 in the envelope of Microsoft's "Create incoming webhooks with Workflows"."""
    sent = body("teams")
    (attachment,) = sent["attachments"]
    assert (sent["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert [part["type"] for part in card["body"]] == ["TextBlock", "TextBlock", "FactSet"]
    assert all(isinstance(part["text"], str) for part in card["body"][:2])
    assert all({"title", "value"} == fact.keys() for fact in card["body"][2]["facts"])


def test_discord(body: Any) -> None:
    """Execute Webhook and embed limits: title 256, description 4096, footer 2048, 6000 in all."""
    sent = body("discord")
    (embed,) = sent["embeds"]
    assert sent["allowed_mentions"] == {"parse": []}
    texts = (embed["title"], embed["description"], embed["footer"]["text"])
    assert all(len(text) <= most for text, most in zip(texts, (256, 4096, 2048), strict=True))
    assert sum(map(len, texts)) <= 6000
    assert is_time(embed["timestamp"])


def test_pagerduty(body: Any) -> None:
    """Events API v2, "Send an Alert Event": required keys, their values and lengths."""
    sent = body("pagerduty")
    assert sent["routing_key"] == "r0uting"
    assert sent["event_action"] in {"trigger", "acknowledge", "resolve"}
    assert len(sent["dedup_key"]) <= 255
    payload = sent["payload"]
    assert 1 <= len(payload["summary"]) <= 1024
    assert payload["source"]
    assert payload["severity"] in {"critical", "warning", "error", "info"}
    assert is_time(payload["timestamp"])
    assert isinstance(payload["custom_details"], dict)


def test_opsgenie(body: Any) -> None:
    """Alert API, "Create Alert": message 130, alias 512, description 15000, priority P1 to P5."""
    sent = body("opsgenie")
    assert 1 <= len(sent["message"]) <= 130
    assert len(sent["alias"]) <= 512
    assert len(sent["description"]) <= 15_000
    assert sent["priority"] in {"P1", "P2", "P3", "P4", "P5"}
    assert all(isinstance(tag, str) for tag in sent["tags"])
    assert all(isinstance(value, str) for value in sent["details"].values())


def test_alertmanager(body: Any) -> None:
    """openapi.yaml of its API v2: `postableAlerts`, a list whose labels and annotations are text."""
    (alert,) = body("alertmanager")
    assert alert["labels"]["alertname"]
    assert all(
        isinstance(value, str) for value in (*alert["labels"].values(), *alert["annotations"].values())
    )
    assert is_time(alert["startsAt"])
