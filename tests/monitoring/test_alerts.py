"""The alerts fire when they should and not otherwise, and each says what to do.

Time is a minute a sample. Each case is tried by `promtool test rules`, all of them in one run.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from .kit import CONFIG, OPERATIONS, metric_names, metrics_in

RULES = CONFIG / "prometheus" / "tdbwatch.rules.yaml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
}
JOB = 'job="tdbwatch", instance="a"'
STARTED = {"tdbwatch_start_timestamp_seconds": "-86400x60"}
"""As of a daemon that has run for a day."""


@dataclass(frozen=True)
class Case:
    """Samples, by metric and further labels, and what fires after so many minutes."""

    name: str
    samples: dict[str, str]
    minutes: int
    alerts: tuple[str, ...] = ()


HEALTHY = STARTED | {
    "up": "1x60",
    "tdbwatch_ready": "1x60",
    "tdbwatch_config_last_reload_successful": "1x60",
    'tdbwatch_absent{absence="beat"}': "0x60",
    "tdbwatch_links": "2x60",
    "tdbwatch_links_wanted": "2x60",
    'tdbwatch_link_losses_total{node="n"}': "1x60",
    "tdbwatch_canary_joined": "1x60",
    'tdbwatch_room_joined{room="r", scope="//s"}': "1x60",
    'tdbwatch_gaps_total{room="r", scope="//s", cause="downtime"}': "3x60",
    'tdbwatch_sink_up{sink="s"}': "1x60",
    'tdbwatch_sink_oldest_seconds{sink="s"}': "0+1x60",
    'tdbwatch_events_dead_total{sink="s"}': "5x60",
    'tdbwatch_events_unrouted_total{room="r", scope="//s"}': "5x60",
    'tdbwatch_route_failures_total{route="routes[0]"}': "5x60",
    "tdbwatch_spool_bytes": "95x60",
    "tdbwatch_spool_max_bytes": "100x60",
    "tdbwatch_spool_dropped_total": "7x60",
    "tdbwatch_spool_dead_letters_dropped_total": "7x60",
    "tdbwatch_spool_trouble": "0x60",
    "tdbwatch_log_dropped_total": "7x60",
    "process_open_fds": "100x60",
    "process_max_fds": "65536x60",
}
LOSSES = 'tdbwatch_link_losses_total{node="n"}'
GAPS = 'tdbwatch_gaps_total{room="r", scope="//s", cause="downtime"}'
DEAD = 'tdbwatch_events_dead_total{sink="s"}'
OLDEST = 'tdbwatch_sink_oldest_seconds{sink="s"}'
BEHIND = {OLDEST: "0+60x30", "tdbwatch_spool_max_bytes": "100x30"}
CASES = (
    Case("all is well, in a full spool", HEALTHY, 50),
    Case("it does not answer", {"up": "1 0x10"}, 3, ("TdbwatchDown",)),
    Case("one scrape failed", {"up": "1x4 0 1x10"}, 6),
    Case("it is not ready", {"tdbwatch_ready": "0x10"}, 3, ("TdbwatchNotReady",)),
    Case("it starts", {"tdbwatch_ready": "0 1x10"}, 3),
    Case(
        "it is started again and again",
        {"tdbwatch_start_timestamp_seconds": "1x5 2x5 3x5 4x20"},
        20,
        ("TdbwatchRestarts",),
    ),
    Case("it was upgraded", {"tdbwatch_start_timestamp_seconds": "1x5 2x5 3x20"}, 20),
    Case(
        "one connection of two",
        {"tdbwatch_links": "1x20", "tdbwatch_links_wanted": "2x20"},
        7,
        ("TdbwatchConnectionsMissing",),
    ),
    Case("a node restarts", {"tdbwatch_links": "2 1x2 2x20", "tdbwatch_links_wanted": "2x20"}, 7),
    Case("a connection fails each minute", {LOSSES: "0+1x20"}, 15, ("TdbwatchConnectionsFail",)),
    Case("the canary has no room", {"tdbwatch_canary_joined": "0x20"}, 12, ("TdbwatchCanaryNotJoined",)),
    Case(
        "a room is not joined",
        {'tdbwatch_room_joined{room="r", scope="//s"}': "0x20"},
        7,
        ("TdbwatchRoomNotJoined",),
    ),
    Case("a gap", STARTED | {GAPS: "0x5 1x30"}, 8, ("TdbwatchMayHaveMissedEvents",)),
    Case("a gap long ago", STARTED | {GAPS: "0x5 1x30"}, 30),
    Case(
        "each start makes one gap: counters stand still",
        {"tdbwatch_start_timestamp_seconds": "0x10 600x30", GAPS: "1x40"},
        12,
        ("TdbwatchMayHaveMissedEvents",),
    ),
    Case("a sink is down", {'tdbwatch_sink_up{sink="s"}': "0x10"}, 3, ("TdbwatchSinkDown",)),
    Case(
        "a sink is behind, and the spool has space",
        BEHIND | {"tdbwatch_spool_bytes": "10x30"},
        20,
        ("TdbwatchSinkBehind",),
    ),
    Case("a sink catches up", {OLDEST: "0 200 400 600 300 0x20"}, 6),
    Case("new dead letters", STARTED | {DEAD: "0x5 9x30"}, 8, ("TdbwatchDeadLetters",)),
    Case(
        "dead letters before the first scrape",
        {"tdbwatch_start_timestamp_seconds": "0x20", DEAD: "9x20"},
        5,
        ("TdbwatchDeadLetters",),
    ),
    Case(
        "a sink was renamed",
        {'tdbwatch_sink_left_behind{sink="old"}': "9x70"},
        65,
        ("TdbwatchSinkLeftBehind",),
    ),
    Case(
        "no route takes an event",
        {'tdbwatch_events_unrouted_total{room="r", scope="//s"}': "0x5 1x30"},
        8,
        ("TdbwatchUnroutedEvents",),
    ),
    Case(
        "an expression fails",
        {'tdbwatch_route_failures_total{route="routes[0]"}': "0x5 1x30"},
        8,
        ("TdbwatchRouteFails",),
    ),
    Case(
        "a sink is behind, and the spool fills",
        BEHIND | {"tdbwatch_spool_bytes": "85x30"},
        20,
        ("TdbwatchSinkBehind", "TdbwatchSpoolFills"),
    ),
    Case("events are given up", {"tdbwatch_spool_dropped_total": "0x5 9x30"}, 8, ("TdbwatchEventsDropped",)),
    Case(
        "dead letters are given up",
        {"tdbwatch_spool_dead_letters_dropped_total": "0x5 9x30"},
        8,
        ("TdbwatchEventsDropped",),
    ),
    Case("the disk refuses", {"tdbwatch_spool_trouble": "1x10"}, 2, ("TdbwatchDiskRefuses",)),
    Case(
        "few descriptors are left",
        {"process_open_fds": "900x10", "process_max_fds": "1024x10"},
        7,
        ("TdbwatchFewDescriptors",),
    ),
    Case(
        "a heartbeat does not come", {'tdbwatch_absent{absence="beat"}': "0 0 1x10"}, 3, ("TdbwatchAbsent",)
    ),
    Case(
        "a reload was refused",
        {"tdbwatch_config_last_reload_successful": "1 0x10"},
        7,
        ("TdbwatchConfigRefused",),
    ),
    Case("nobody reads the log", {"tdbwatch_log_dropped_total": "0x5 9x30"}, 8, ("TdbwatchLogLinesLost",)),
)


def series(metric: str, values: str) -> dict[str, str]:
    name, _, labels = metric.rstrip("}").partition("{")
    return {"series": f"{name}{{{', '.join(filter(None, (JOB, labels)))}}}", "values": values}


def unit_test(case: Case) -> dict[str, Any]:
    fires = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(case.alerts)]
    question = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": [series(*each) for each in case.samples.items()],
        "promql_expr_test": [{"expr": question, "eval_time": f"{case.minutes}m", "exp_samples": fires}],
    }


def test_promtool_finds_no_fault_with_the_rules(promtool: str) -> None:
    checked = subprocess.run(
        [promtool, "check", "rules", RULES], capture_output=True, text=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout + checked.stderr


def test_each_alert_fires_when_it_should_and_not_otherwise(promtool: str, tmp_path: Path) -> None:
    file = tmp_path / "tests.yaml"
    tests = [unit_test(case) for case in CASES]
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": tests}))
    tried = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, timeout=50, check=False
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_each_alert_was_seen_firing() -> None:
    assert {name for case in CASES for name in case.alerts} == ALERTS.keys()


def test_they_ask_for_metrics_that_there_are() -> None:
    named = {name for rule in ALERTS.values() for name in metrics_in(rule["expr"])}
    assert named - metric_names() == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_to_do(alert: str) -> None:
    notes = ALERTS[alert]["annotations"]
    page, _, anchor = notes["runbook"].partition("#")
    assert page == "docs/operations.md"
    headings = re.findall(r"^#+ (.*)$", OPERATIONS.read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    assert notes["summary"]
    assert notes["description"].endswith(".")


def test_exactly_the_alerts_that_there_are_are_in_their_table() -> None:
    told = re.findall(r"^\| `(Tdbwatch\w+)` \| (\w+) \|", OPERATIONS.read_text(), re.MULTILINE)
    assert sorted(told) == sorted((name, rule["labels"]["severity"]) for name, rule in ALERTS.items())
