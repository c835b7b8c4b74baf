"""What the status says, from made-up moments: problems, words, markup, the page and the JSON document."""

import asyncio
import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.config import Problem as ConfigProblem
from tdbwatch.daemon.plugins import PluginProblem
from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.spool import SpoolError
from tdbwatch.daemon.spool.api import DeadLetter, Entry
from tdbwatch.daemon.spool.looking.stats import Letters
from tdbwatch.daemon.status import remedies
from tdbwatch.daemon.status.document import document
from tdbwatch.daemon.status.figures import survey
from tdbwatch.daemon.status.health import is_ready, problems
from tdbwatch.daemon.status.history import NO_HISTORY
from tdbwatch.daemon.status.journal import GAPS_KEPT, Journal
from tdbwatch.daemon.status.metrics import Metrics
from tdbwatch.daemon.status.pages import configuration, frame, front, letters, tables
from tdbwatch.daemon.status.pages.markup import element
from tdbwatch.daemon.status.snapshot import CanaryView, ConfigView, NodeView, RoomView, Snapshot
from tdbwatch.daemon.status.spans import Gap, OpenGap, Part, Span, closed
from tdbwatch.daemon.status.tail import page as tail
from tdbwatch.daemon.status.tail.filter import Filter
from tdbwatch.daemon.words import ago, counted, duration, size
from tdbwatch.plugin import Event, Kind
from tdbwatch.testing import ManualClock

from .status_moments import (
    BROKEN,
    CANARY,
    FINE,
    GAP,
    HOSTILE,
    NODE,
    NOW,
    ROOM,
    SECOND,
    SPOOL,
    STUCK,
    sink,
    state,
)


def test_when_all_is_well_nothing_is_said() -> None:
    assert problems(FINE) == ()
    assert state() == "ok"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"nodes": (replace(NODE, state="connecting"),)}, "links"),
        ({"rooms": (replace(ROOM, state="missing", reason="gone"),)}, "room"),
        ({"rooms": (replace(ROOM, state="leaving"),)}, "room"),
        ({"sinks": (sink(state="stuck"),)}, "sink"),
        ({"sinks": (sink(state="paused", last_error="410"),)}, "sink"),
        ({"sinks": (sink(state="retrying", failures=5, probing=True),)}, "sink"),
        ({"spool": replace(SPOOL, trouble="no space left")}, "spool"),
    ],
)
def test_what_stops_events_makes_it_not_ready_and_is_said_first(changes: dict[str, Any], part: str) -> None:
    snapshot = replace(FINE, plugin_problems=(BROKEN,), **changes)
    first, *rest = problems(snapshot)
    assert (first.part, first.blocking) == (part, True)
    assert not any(problem.blocking for problem in rest)
    assert not is_ready(snapshot)
    assert state(**changes) == "trouble"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"links_wanted": 2}, "links"),
        (
            {"nodes": (NODE, replace(NODE, address="node02:9200", state="unreachable", trouble="refused"))},
            "node",
        ),
        ({"rooms": (ROOM, replace(ROOM, state="missing", required=False))}, "room"),
        ({"sinks": (sink(oldest_us=NOW - 301 * SECOND),)}, "sink"),
        ({"sinks": (sink(Letters(1, "HTTP 422")),)}, "sink"),
        ({"spool": replace(SPOOL, dropped=7, last_drop_us=NOW - 3_599 * SECOND)}, "spool"),
        ({"spans": (closed(GAP),)}, "gap"),
        ({"plugin_problems": (BROKEN,)}, "plugin"),
        ({"resting": (STUCK,)}, "plugin"),
    ],
)
def test_what_needs_a_look_leaves_it_ready(changes: dict[str, Any], part: str) -> None:
    snapshot = replace(FINE, **changes)
    assert [(problem.part, problem.blocking) for problem in problems(snapshot)] == [(part, False)]
    assert is_ready(snapshot)
    assert state(**changes) == "warning"


@pytest.mark.parametrize("count", [1, 2])
def test_with_none_of_the_rooms_joined_it_is_not_ready_though_none_is_required(count: int) -> None:
    missing = replace(ROOM, state="missing", required=False, remedy="Make it.")
    rooms = tuple(replace(missing, name=f"room{number}") for number in range(count))
    found = problems(replace(FINE, rooms=rooms))
    assert all(problem.blocking and problem.remedy for problem in found)
    assert [problem.name for problem in found if problem.part == "room"] == [
        f"{room.name} in //stuff" for room in rooms
    ]
    if count > 1:
        assert found[0].subject == "Rooms:"
        assert found[0].text == "None of the rooms is joined: nothing can be heard."
    assert state(rooms=rooms) == "trouble"
    assert state(rooms=(*rooms, replace(ROOM, required=False))) == "warning"


def test_rooms_that_were_not_tried_yet_or_wait_for_a_connection_are_not_said_to_be_none() -> None:
    waiting = (replace(ROOM, state="waiting", required=False), replace(ROOM, name="b", state="waiting"))
    for changes in ({"phase": "starting"}, {"nodes": (replace(NODE, state="connecting"),)}):
        found = problems(replace(FINE, rooms=waiting, **changes))
        assert "rooms" not in {problem.part for problem in found}


@pytest.mark.parametrize(
    "changes",
    [
        {"sinks": (sink(state="retrying", failures=1, oldest_us=NOW - SECOND),)},
        {"nodes": (NODE, replace(NODE, address="node02:9200", state="spare"))},
        {"spans": (closed(replace(GAP, at_us=NOW - 901 * SECOND)),)},
        {"spool": replace(SPOOL, dropped=7, last_drop_us=NOW - 3_600 * SECOND)},
    ],
)
def test_what_is_normal_is_no_problem(changes: dict[str, Any]) -> None:
    assert problems(replace(FINE, **changes)) == ()


@pytest.mark.parametrize(
    ("state", "text", "remedy"),
    [
        ("missing", "There is no such room: a connection that lives", "Make its room in ThingsDB"),
        ("deleted", "The room was deleted: a connection that lives", "Make its room in ThingsDB"),
        ("waiting", "Not joined: a connection that lives", "See that ThingsDB answers"),
        ("mute", "It cannot be emitted: a connection that lives", "it is emitted again by itself"),
    ],
)
def test_a_canary_without_its_room_has_a_state_a_reason_and_a_metric(
    state: str, text: str, remedy: str
) -> None:
    said = remedies.MUTE if state == "mute" else remedies.canary(state, "//stuff", None)
    canary = replace(CANARY, state=state, reason="no canary here", remedy=said, links=0)
    snapshot = replace(FINE, canary=canary)
    [problem] = problems(snapshot)
    assert (problem.part, problem.name, problem.blocking) == ("canary", "canary in //stuff", False)
    assert problem.text.startswith(text)
    assert problem.text.endswith("no canary here")
    assert remedy in problem.remedy
    assert "tdbwatch_canary_joined 0\n" in asyncio.run(Metrics().text(snapshot)).decode()
    assert "tdbwatch_canary_joined 1\n" in asyncio.run(Metrics().text(replace(FINE, canary=CANARY))).decode()
    assert "\ntdbwatch_canary" not in asyncio.run(Metrics().text(FINE)).decode()
    assert "no canary here" in front.render(snapshot)
    assert document(snapshot)["canary"]["state"] == state


def test_without_a_connection_the_rooms_that_wait_for_it_are_not_listed_too() -> None:
    nodes, waiting = (replace(NODE, state="connecting"),), replace(ROOM, state="waiting", reason="reset")
    assert [p.part for p in problems(replace(FINE, nodes=nodes, rooms=(waiting,)))] == ["links"]
    assert [p.part for p in problems(replace(FINE, rooms=(waiting,)))] == ["room"]


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("127.0.0.1:9200", "127.0.0.1:9200"),
        ("node-with-a-long-name.example.com:9200", ":9200"),
        ("[2001:db8:85a3::8a2e:370:7334]:9200", ":9200"),
    ],
)
def test_no_line_breaks_within_a_port(address: str, whole: str) -> None:
    markup = tables.nodes(replace(FINE, nodes=(replace(NODE, address=address),)))
    assert f'<span class="whole">{whole}</span>' in markup
    assert address in re.sub("<[^>]*>", "", markup)


def test_a_hundred_problems_leave_the_top_of_the_page_readable() -> None:
    nodes = tuple(replace(NODE, address=f"node{number}", state="unreachable") for number in range(100))
    snapshot = replace(FINE, nodes=(NODE, *nodes))
    assert len(problems(snapshot)) == 100
    reader = Reader(front.render(snapshot))
    assert reader.tags.count("li") == front.MAX_SHOWN + 1
    assert f"and {100 - front.MAX_SHOWN} more" in reader.text


@pytest.mark.parametrize("phase", ["starting", "stopping", "failed"])
def test_it_is_ready_only_while_it_runs(phase: str) -> None:
    assert not is_ready(replace(FINE, phase=phase))
    assert state(phase=phase) == phase


def test_a_long_error_is_shortened_in_the_headline_only() -> None:
    error = "first line\n" + "x" * 2_000
    snapshot = replace(FINE, sinks=(sink(state="stuck", last_error=error),))
    assert len(problems(snapshot)[0].text) < 300
    assert "\n" not in problems(snapshot)[0].text
    assert "x" * 2_000 in tables.sinks(snapshot, NO_HISTORY)


def test_the_journal_keeps_the_latest_gaps_and_counts_all() -> None:
    journal = Journal(ManualClock())
    for number in range(GAPS_KEPT + 10):
        details = {
            "since": None,
            "until": "2027-01-15T08:00:00Z",
            "reason": "spool: max_size",
            "cause": "spool",
            "dropped": number,
        }
        journal.recorded(Kind.GAP, "gap", "//stuff", "alerts", details)
    assert [gap.dropped for gap in journal.gaps] == list(range(10, GAPS_KEPT + 10))
    assert journal.gap_counts["//stuff", "alerts", "spool"] == GAPS_KEPT + 10


def test_a_node_that_is_connected_to_again_has_no_trouble_any_more() -> None:
    journal = Journal(ManualClock())
    journal.recorded(Kind.NODE, "connected", "", "", {"node": "node01:9200"})
    journal.recorded(Kind.NODE, "READY", "", "", {"node": "node01:9200", "status": "READY"})
    journal.recorded(Kind.NODE, "disconnected", "", "", {"node": "node01:9200", "reason": "reset"})
    journal.unreachable("node01:9200", "refused")
    story = journal.nodes["node01:9200"]
    assert (story.connects, story.losses, story.trouble) == (1, 1, "refused")
    journal.recorded(Kind.NODE, "connected", "", "", {"node": "node01:9200"})
    assert (story.connects, story.trouble, story.trouble_us) == (2, "", None)


def test_a_node_that_is_back_and_not_needed_has_no_trouble_any_more() -> None:
    journal = Journal(ManualClock())
    journal.unreachable("node01:9200", "refused the login", refused=True)
    journal.recovered("node01:9200")
    story = journal.nodes["node01:9200"]
    assert (story.connects, story.trouble, story.trouble_us, story.refused) == (0, "", None, False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.25, "250 ms"), (12.9, "12 s"), (60, "1 min"), (200, "3 min 20 s"), (187_200, "2 d 4 h")],
)
def test_durations_have_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 * 1024, "1.5 MiB"), (1 << 50, "1024.0 TiB")],
)
def test_sizes_have_a_unit_that_fits(count: int, text: str) -> None:
    assert size(count) == text


def test_counts_agree_with_their_noun() -> None:
    assert (counted(1, "event"), counted(2_000, "event")) == ("1 event", "2,000 events")


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_any_two_times_and_any_size_can_be_said(then: int, now: int) -> None:
    assert ago(then, now)
    assert re.fullmatch(r"\d+(\.\d)? ([KMGT]i)?B", size(then))


class Reader(HTMLParser):
    """What a browser would make of it: text, tags, and addresses that it would load or link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.addresses, self.open = "", [], [], []  # type: ignore[var-annotated]
        self.raw: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action", "srcset"}]
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"script", "style"}:
            self.raw[self.open[-1]] = self.raw.get(self.open[-1], "") + data
        self.text += data


@given(st.text(), st.text())
def test_text_in_an_element_stays_text_whatever_it_is(text: str, title: str) -> None:
    reader = Reader(element("p", text, title=title))
    assert reader.tags == ["p"]
    assert reader.text.replace("\r\n", "\n").replace("\r", "\n") == text.replace("\r\n", "\n").replace(
        "\r", "\n"
    )


def hostile_span() -> Span:
    part = Part(None, NOW, (HOSTILE,))
    return Span(NOW, HOSTILE, part, {(HOSTILE, HOSTILE): part, (HOSTILE, "other"): part}, None)


def hostile() -> Snapshot:
    """A moment in which everything that comes from outside tries to be markup."""
    return replace(
        FINE,
        failure=HOSTILE,
        host=HOSTILE,
        canary=CanaryView(HOSTILE, HOSTILE, "refused", HOSTILE, HOSTILE, 0, 0),
        nodes=(NodeView(HOSTILE, "unreachable", HOSTILE, None, 1, 1, HOSTILE, NOW),),
        rooms=(RoomView(HOSTILE, HOSTILE, 1, "refused", HOSTILE, "", True, 0, 0, None, 0, 0),),
        sinks=(sink(Letters(2, HOSTILE), sink=HOSTILE, plugin=HOSTILE, state="stuck", last_error=HOSTILE),
               replace(sink(Letters(2, HOSTILE), sink=HOSTILE), type=HOSTILE)),
        spool=replace(SPOOL, path=HOSTILE, trouble=HOSTILE),
        gaps=(Gap(NOW, HOSTILE, HOSTILE, None, HOSTILE, HOSTILE, HOSTILE, None),),
        spans=(hostile_span(),),
        open_gaps=(OpenGap(HOSTILE, HOSTILE, NOW, HOSTILE, HOSTILE),),
        plugin_problems=(PluginProblem(HOSTILE, HOSTILE, HOSTILE),),
        resting=(replace(STUCK, plugin=HOSTILE, name=HOSTILE),),
    )  # fmt: skip


@pytest.mark.parametrize("phase", ["starting", "running", "stopping", "failed"])
def test_the_page_is_well_formed_and_nothing_from_outside_becomes_markup(phase: str) -> None:
    reader = Reader(front.render(replace(hostile(), phase=phase)))
    assert reader.open == []
    assert "img" not in reader.tags
    assert reader.tags.count("script") == 1
    assert HOSTILE in reader.text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    addresses = Reader(front.render(FINE)).addresses
    assert addresses
    assert {address.partition(",")[0] for address in addresses} == {
        "data:image/svg+xml",
        "./",
        "tail",
        "letters",
        "config",
        "status.json",
        "metrics",
        "readyz",
    }


def test_the_policy_allows_the_pages_own_style_and_script_and_no_other() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in frame.POLICY.split(";"))
    for text in (front.render(hostile()), tail.render(hostile(), Filter(), [], 0, "")):
        for tag, content in Reader(text).raw.items():
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in rules[f"{tag}-src"]
    assert "unsafe" not in frame.POLICY


def test_without_javascript_the_page_reloads_itself() -> None:
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in front.render(FINE)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_read_on_its_ground(scheme: int) -> None:
    style = Reader(front.render(FINE)).raw["style"]
    colours = dict(
        re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", style.split("prefers-color-scheme: dark")[scheme])
    )
    states = ("ok", "warning", "trouble", "idle")
    pairs = [(name, f"{name}-ground") for name in states] + [("ink", f"{name}-ground") for name in states]
    pairs += [("ink", "ground"), ("ink", "card"), ("soft", "ground"), ("soft", "card"), ("trouble", "card")]
    for text, ground in pairs:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


@pytest.mark.parametrize("snapshot", [FINE, hostile()], ids=["fine", "hostile"])
def test_the_json_document_is_json_and_agrees_with_the_health(snapshot: Snapshot) -> None:
    read = json.loads(json.dumps(document(snapshot)))
    assert read["ready"] == is_ready(snapshot)
    assert read["uptime"] == 3_600
    assert read["time"] == "2027-01-15T08:00:00.000000Z"
    assert not [
        key
        for part in ("nodes", "rooms", "sinks", "gaps")
        for each in read[part]
        for key in each
        if key.endswith("_us")
    ]


def test_metrics_of_hostile_names_are_still_one_line_each() -> None:
    text = asyncio.run(Metrics().text(hostile())).decode()
    assert all(line.startswith(("#", "tdbwatch_", "process_")) for line in text.splitlines())


def test_reading_the_figures_never_makes_a_spool(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match=r"spool\.db"):
        survey(tmp_path / "spool.db", [])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_spool_has_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"garbage" * 1_000)
    with pytest.raises(SpoolError, match="is no spool"):
        survey(path, [])


def test_the_configuration_is_shown_only_if_there_is_a_token_and_as_text() -> None:
    text = f"rooms: [{HOSTILE!r}]\nsinks: {{a: b}}\n"
    closed, shown = (configuration.render(FINE, text, is_open=one) for one in (False, True))
    assert ("sinks" in closed, "http.token" in closed) == (False, True)
    assert ["secrets are stars" in page for page in (closed, shown)] == [False, True]
    assert "<img" not in shown
    assert "sinks: {a: b}" in shown
    assert "<script>" not in shown


@pytest.mark.parametrize("state", ["missing", "waiting"])
def test_of_many_rooms_with_one_fault_it_is_said_once(state: str) -> None:
    rooms = [replace(ROOM, name=f"r{n}", state=state, reason="gone", required=False) for n in range(5_000)]
    loud = [replace(room, required=True) for room in rooms[:2]]
    found = problems(replace(FINE, phase="running", rooms=(ROOM, *loud, *rooms[2:])))
    assert [problem.name for problem in found if problem.blocking] == ["r0 in //stuff", "r1 in //stuff"]
    [rest] = [problem for problem in found if not problem.blocking]
    assert rest.text.startswith("4,998 rooms are not joined, and their events are missed. Of r2 in //stuff, ")
    assert len(rest.text) < 400
    unrouted = tuple(replace(ROOM, name=f"r{n}", unrouted=2) for n in range(13))
    [one] = problems(replace(FINE, rooms=unrouted))
    assert one.text.startswith("26 events in 13 rooms since the start that no route takes")
    assert len(problems(replace(FINE, rooms=unrouted[:12]))) == 12


def test_a_collection_that_was_renamed_is_told_once_for_all_its_rooms() -> None:
    rooms = [replace(ROOM, name=f"r{n}", heard_in="//things") for n in range(5_000)]
    [one] = problems(replace(FINE, rooms=(ROOM, *rooms)))
    assert (one.part, one.name, one.blocking) == ("collection", "//stuff", False)
    assert "called //things now" in one.text
    assert "Write //things in place of //stuff" in one.remedy


def test_of_very_many_doubts_a_few_are_told_and_how_many_more_there_are() -> None:
    doubts = tuple(ConfigProblem("prod.yaml", n, 1, f"rooms[{n}]", "hm", "mend it") for n in range(5_000))
    found = problems(replace(FINE, doubts=doubts))
    assert [problem.text for problem in found][-2:] == ["prod.yaml:11:1: hm", "It has 4,988 more doubts."]
    assert len(found) == 13
    assert len(problems(replace(FINE, doubts=doubts[:12]))) == 12


def test_the_page_of_the_configuration_says_what_came_of_the_last_reload() -> None:
    problem = ConfigProblem("prod.yaml", 3, 5, "rooms[0].nme", HOSTILE, "")
    refused = Verdict(False, NOW, "abc", problems=(problem,))
    taken = Verdict(True, NOW, "abc", changes=("room deploys added",), restart=("http.listen",))
    for verdict, words in (
        (None, ["none since the start"]),
        (refused, ["refused, nothing was changed: 1 problem", "prod.yaml:3:5: rooms[0].nme: &lt;img"]),
        (taken, ["1 change; a restart is needed for http.listen", "room deploys added"]),
    ):
        snapshot = replace(FINE, config=ConfigView("abc", NOW, NOW, verdict))
        text = configuration.render(snapshot, "a: b\n", is_open=True)
        assert "<img" not in text
        assert all(word in text for word in words)
    waits = replace(FINE, config=ConfigView("abc", NOW, NOW, taken, restart=("thingsdb.nodes",)))
    closed, shown = (configuration.render(waits, "a: b\n", is_open=one) for one in (False, True))
    assert "Shown as written; these wait for a restart: thingsdb.nodes." in shown
    assert "These wait for a restart: thingsdb.nodes." in closed


def test_of_a_dead_letter_the_first_error_is_told_where_it_was_another() -> None:
    event = Event.create(HOSTILE, HOSTILE, ["secret of the event"])
    letter = DeadLetter("oncall", Entry(7, event), "out of attempts", 3, "HTTP 500", "HTTP 503", NOW, NOW)
    text = letters.render(FINE, [letter], None)
    assert "<img" not in text
    assert "secret of the event" not in text
    assert re.findall(r"At first: ([\w ]+)|Last: ([\w ]+)", text) == [("HTTP 500", ""), ("", "HTTP 503")]
    assert event.id in text
    assert "cannot be read now" in letters.render(FINE, None, None)
    assert "took all that they were given" in letters.render(FINE, [], "oncall")
