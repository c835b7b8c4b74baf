"""Every metric and every address is documented, and no other."""

import re

from tdbwatch.daemon.status.metrics import DEFINITIONS

from .kit import ADDRESSES, DOCS, Watch


async def test_every_metric_that_is_shown_is_documented_and_no_other(watch: Watch) -> None:
    asker = await watch()
    _, text = await asker.get("/metrics")
    shown = set(re.findall(r"^# HELP (\S+)", text, re.MULTILINE))
    documented = set(re.findall(r"^\| `((?:tdbwatch|process)_\w+)", DOCS.read_text(), re.MULTILINE))
    absent_here = {
        "tdbwatch_canary_failures_total",
        "tdbwatch_canary_joined",
        "tdbwatch_last_event_timestamp_seconds",
    }
    assert {definition.name for definition in DEFINITIONS} <= shown | absent_here
    assert shown | absent_here == documented


def test_the_labels_of_every_metric_are_documented() -> None:
    rows = dict(re.findall(r"^\| `(tdbwatch_\w+)(?:\{([\w,]+)\})?`", DOCS.read_text(), re.MULTILINE))
    assert {name: tuple(filter(None, labels.split(","))) for name, labels in rows.items()} == {
        definition.name: definition.labels for definition in DEFINITIONS
    }


def test_the_documentation_names_no_metric_that_there_is_not() -> None:
    named = set(re.findall(r"\btdbwatch_[a-z_]+[a-z]\b", DOCS.read_text()))
    assert named - {"tdbwatch_merge", "tdbwatch_canary"} == {definition.name for definition in DEFINITIONS}


def test_every_address_is_documented() -> None:
    text = DOCS.read_text()
    assert all(f"| `{path}` |" in text for path in ADDRESSES)
