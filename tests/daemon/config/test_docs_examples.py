"""What docs/routes.md and docs/templates.md show can be copied: it loads, and does what the pages say."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tdbwatch.daemon.config import Document, parse
from tdbwatch.daemon.routing.route_tests import run_tests
from tdbwatch.plugin import Event, JsonTemplate, Template

from .config_kit import sink_types

DOCS = Path(__file__).parents[3] / "docs"
SINKS = ("audit", "oncall", "console", "mail", "chat", "dba")
AROUND = {
    "thingsdb": {"nodes": ["node01.local"], "auth": {"token": "t"}},
    "rooms": [{"name": name} for name in ("alerts", "deploys", "logins", "heartbeat", "jobs")],
    "sinks": {name: {"type": "log"} for name in SINKS},
}


def shown(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


ROUTES = [yaml.safe_load(text) for text in shown("routes.md", "yaml")]
CEL = "".join(shown("routes.md", "cel")).splitlines()
TEMPLATES, GIVEN = (yaml.safe_load(text) for text in shown("templates.md", "yaml"))
EVENT = Event.create("alerts", "disk-full", [{"host": "db1", "severity": 5}], arg_names=["alert"])


def document(*parts: dict[str, Any]) -> Document:
    whole = dict(AROUND)
    for part in parts:
        whole |= part
    return parse(json.dumps(whole).encode(), "prod.yaml", {})


@pytest.mark.parametrize("example", ROUTES, ids="-".join)
def test_the_routes_that_are_shown_load(example: dict[str, Any]) -> None:
    document(example).config(sink_types())


@pytest.mark.parametrize("expression", CEL)
def test_the_expressions_that_are_shown_are_some(expression: str) -> None:
    document({"routes": [{"where": expression, "to": ["audit"]}]}).config(sink_types())


def test_the_tests_that_are_shown_pass_with_the_first_routes() -> None:
    (tests,) = (example for example in ROUTES if "tests" in example)
    checked = document(ROUTES[0], tests).check(sink_types())
    assert [result.faults for result in run_tests(checked.sections, checked.sinks)] == [()]


def test_the_templates_that_are_shown_make_what_the_page_says() -> None:
    document(TEMPLATES).config(sink_types())
    sinks, page = TEMPLATES["sinks"], (DOCS / "templates.md").read_text()
    body = json.loads(JsonTemplate(sinks["chat"]["body"]).render(EVENT))
    assert f'`{{"text": "{body["text"]}", "record": {{...}}}}`' in page
    assert body["record"]["event"] == "disk-full"
    assert f"`{Template(sinks['console']['message']).render(EVENT)}`" in page


def test_the_event_that_is_shown_is_that_of_the_pictures() -> None:
    drawn = runpy.run_path(str(DOCS.parent / "packaging" / "pictures.py"))
    assert {"event": drawn["NAME"], "args": [drawn["ALERT"]]} == GIVEN
