"""Draws what a message looks like at each service of config/services.yaml, into the folder that is named.

Each picture is drawn from the body that the file's own templates make of one event, so it shows what is sent.
How a service lays it out is sketched: what stands where, without its colours and marks.
`python packaging/pictures.py docs/pictures` draws those of the docs; a test holds that they are up to date.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any

from msgspec.structs import replace

from tdbwatch.daemon.config import load
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.plugin import Event

CONFIG = Path(__file__).resolve().parents[1] / "config" / "services.yaml"
RECEIVED = datetime.fromisoformat("2026-03-02T03:12:09.250Z")
NAME = "disk-full"
ALERT = {"host": "db1", "severity": 5, "text": "/var is 97 % full, 3 GB are left"}
WIDTH, MARGIN = 560, 20
STYLE = """
text { font: 14px system-ui, "Segoe UI", Roboto, "DejaVu Sans", Arial, sans-serif; fill: #1f2328 }
.ground { fill: #ffffff; stroke: #afb8c1 } .part { fill: #f3f5f7 }
.bar { fill: #8c959f } .mark { fill: #57606a }
.title { font-size: 17px; font-weight: 600 } .name { font-weight: 600 }
.small { font-size: 12px; fill: #57606a } .on { font-size: 12px; font-weight: 600; fill: #ffffff }
.code { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #a5afba }
.ground { fill: #161b22; stroke: #57606a } .part { fill: #262c36 }
}
"""


def bodies() -> dict[str, Any]:
    """What each sink of config/services.yaml that has a body sends for the sample event."""
    secrets = ("SLACK_URL", "TEAMS_URL", "DISCORD_URL", "THINGSDB_TOKEN", "PAGERDUTY_KEY", "OPSGENIE_KEY")
    config = load(CONFIG, load_plugins().sink_types, dict.fromkeys(secrets, "https://example.org/hook"))
    made = Event.create(
        "alerts", NAME, [ALERT], arg_names=["alert"], room_id=17,
        received_us=int(RECEIVED.timestamp() * 1_000_000),
    )  # fmt: skip
    event = replace(made, id="019cac88-2422-7000-8000-0000000000a1")
    with_body = ((sink.name, getattr(sink.options, "body", None)) for sink in config.sinks)
    return {name: json.loads(body.render(event)) for name, body in with_body if body is not None}


@dataclass
class Card:
    """A card that grows downwards: each part is put below the one before."""

    left: int = MARGIN
    y: int = MARGIN
    shapes: list[str] = field(default_factory=list)

    def text(self, text: str, style: str = "plain", *, columns: int = 68) -> None:
        for part in wrap(text, columns):
            self.shapes.append(line(self.left, self.y, part, style))
            self.y += 22

    def facts(self, facts: Mapping[str, Any], *, style: str = "plain", at: int = 130) -> None:
        """Names, and beside each its value; what is not text as JSON."""
        for name, value in facts.items():
            self.shapes.append(line(self.left, self.y, name, "small"))
            shown = value if isinstance(value, str) else json.dumps(value)
            for part in wrap(shown, 48):
                self.shapes.append(line(self.left + at, self.y, part, style))
                self.y += 20

    def labels(self, texts: list[str], *, ground: str, style: str) -> None:
        """Short texts, each in a box, side by side."""
        x = self.left
        for text in texts:
            width = 16 + round(7.3 * len(text))
            self.shapes.append(box(x, self.y, width, 22, ground))
            self.shapes.append(line(x + width / 2, self.y, text, style, anchor="middle"))
            x += width + 8
        self.y += 22

    def sender(self, name: str) -> None:
        """Who posts a message in a chat; what follows is beside the picture that the sender has."""
        self.shapes.append(box(self.left, self.y, 34, 34, "mark"))
        self.shapes.append(line(self.left + 17, self.y + 6, name[0].upper(), "on", anchor="middle"))
        self.left += 46
        self.text(name, "name")
        self.gap(4)

    @contextmanager
    def framed(self) -> Iterator[None]:
        """What is put within is on a ground of its own, with a bar at its left."""
        left, top, before = self.left, self.y, len(self.shapes)
        self.left, self.y = left + 18, top + 10
        yield
        self.left, self.y = left, self.y + 8
        height = self.y - top
        ground = box(left, top, WIDTH - MARGIN - left, height, "part")
        self.shapes[before:before] = [ground, box(left, top, 4, height, "bar")]

    def gap(self, height: int = 10) -> None:
        self.y += height

    def svg(self, title: str, description: str) -> str:
        height = self.y + MARGIN
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
            f' viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc">'
        )
        return "\n".join(
            [
                head,
                f'<title id="title">{escape(title)}</title>',
                f'<desc id="desc">{escape(description)}</desc>',
                f"<style>{STYLE}</style>",
                box(1, 1, WIDTH - 2, height - 2, "ground"),
                *self.shapes,
                "</svg>\n",
            ]
        )


def line(x: float, top: int, text: str, style: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{top + 16}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def box(x: int, y: int, width: int, height: int, style: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" class="{style}"/>'


def slack(sent: Any, card: Card) -> None:
    styles = {"header": "title", "section": "plain", "context": "small"}
    card.sender("your app")
    for block in sent["blocks"]:
        (text,) = block["elements"] if block["type"] == "context" else [block["text"]]
        card.text(text["text"], styles[block["type"]])


def teams(sent: Any, card: Card) -> None:
    (attachment,) = sent["attachments"]
    card.sender("Workflows")
    for part in attachment["content"]["body"]:
        if part["type"] == "FactSet":
            card.gap(4)
            card.facts({fact["title"]: fact["value"] for fact in part["facts"]}, at=70)
        else:
            card.text(part["text"], "title" if part.get("size") == "Large" else "plain")


def discord(sent: Any, card: Card) -> None:
    (embed,) = sent["embeds"]
    card.sender(sent["username"])
    with card.framed():
        card.text(embed["title"], "name")
        card.text(embed["description"], columns=60)
        card.text(f"{embed['footer']['text']} \N{BULLET} {clock(embed['timestamp'])}", "small")


def pagerduty(sent: Any, card: Card) -> None:
    payload = sent["payload"]
    state = {"trigger": "triggered", "resolve": "resolved"}[sent["event_action"]]
    card.labels([state, payload["severity"]], ground="mark", style="on")
    card.gap()
    card.text(payload["summary"], "title")
    card.gap(4)
    card.facts({name: payload[name] for name in ("source", "component")})
    card.facts({"time": clock(payload["timestamp"]), "alert key": sent["dedup_key"]})
    card.gap()
    card.text("Custom details", "name")
    card.facts(payload["custom_details"], style="code")


def opsgenie(sent: Any, card: Card) -> None:
    card.labels([sent["priority"], "open"], ground="mark", style="on")
    card.gap()
    card.text(sent["message"], "title")
    card.gap(4)
    card.labels(sent["tags"], ground="part", style="code")
    card.gap()
    card.text(sent["description"])
    card.gap(4)
    card.facts({name: sent[name] for name in ("source", "entity", "alias")})
    card.gap()
    card.text("Extra properties", "name")
    card.facts(sent["details"], style="code")


def alertmanager(sent: Any, card: Card) -> None:
    (alert,) = sent
    card.text(alert["startsAt"], "name")
    card.facts(alert["annotations"], at=90)
    card.gap()
    card.labels([f'{name}="{value}"' for name, value in alert["labels"].items()], ground="part", style="code")


def clock(timestamp: str) -> str:
    """A time as a service shows it to people, here in UTC."""
    return f"{datetime.fromisoformat(timestamp):%Y-%m-%d %H:%M} UTC"


SERVICES: dict[str, tuple[str, Callable[[Any, Card], None]]] = {
    "slack": ("A message in Slack", slack),
    "teams": ("A card in Microsoft Teams", teams),
    "discord": ("A message in Discord", discord),
    "pagerduty": ("An alert in PagerDuty", pagerduty),
    "opsgenie": ("An alert in Opsgenie", opsgenie),
    "alertmanager": ("An alert in Alertmanager", alertmanager),
}


def pictures() -> dict[str, str]:
    """Each picture's file name and text."""
    drawn = {}
    for name, body in bodies().items():
        title, draw = SERVICES[name]
        card = Card()
        draw(body, card)
        words = (
            f"A sketch, drawn from what the sink {name} of config/services.yaml sends when a disk is full."
        )
        drawn[f"{name}.svg"] = card.svg(title, words)
    return drawn


if __name__ == "__main__":
    for file, text in pictures().items():
        (Path(sys.argv[1]) / file).write_text(text, encoding="utf-8")
