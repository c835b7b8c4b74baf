"""`tdbwatch spool list` and `show`: what they select, and the story of an event."""

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.daemon.spool.api import Behind
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.plugin import Event, Kind

from .kit import CONFIG, Run, fill, made, objects


def test_what_no_route_takes_can_be_listed(run: Run) -> None:
    [found] = objects(run("spool", "stats", "--json")[1])
    code, out, _ = run("spool", "list", "--unrouted", "--json")
    assert (code, len(objects(out))) == (0, found["unrouted"])
    assert len(objects(run("spool", "list", "--unrouted", "--json", "--limit", "1")[1])) == 1
    code, _, err = run("spool", "list", "--unrouted", place=("--spool", "spool.db"))
    assert (code, "it needs --config" in err) == (64, True)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), range(10)),
        (("--limit", "2"), (8, 9)),
        (("--limit", "0"), range(10)),
        (("--limit", str(1 << 70)), range(10)),
        (("--dead", "--limit", str(1 << 70)), (0, 1, 2)),
        (("--event", "disk-*"), (1, 3, 5, 7, 9)),
        (("--room", "op?"), (0,)),
        (("--since", "1h"), range(1, 10)),
        (("--since", "2001-01-01"), range(10)),
        (("--until", "1h"), (0,)),
        (("--until", "1h", "--limit", "1"), (0,)),
        (("--since", "3h", "--until", "1h"), (0,)),
        (("--until", "2001-01-01"), ()),
        (("--dead", "--until", "1h"), (0,)),
        (("--sink", "audit"), (5, 7, 9)),
        (("--sink", "audit", "--limit", "2"), (7, 9)),
        (("--dead",), (0, 1, 2)),
        (("--dead", "--sink", "oncall", "--event", "cpu-high"), (2,)),
        (("--dead", "--sink", "audit"), ()),
    ],
)
def test_list_shows_what_the_filters_select_oldest_first(
    run: Run, events: list[Event], filters: tuple[str, ...], expected: Any
) -> None:
    code, out, _ = run("spool", "list", "--json", *filters)
    assert code == 0
    assert [found["id"] for found in objects(out)] == [events[n].id for n in expected]


def test_what_a_sink_is_still_to_get_is_neither_what_it_got_out_of_turn_nor_a_dead_letter(
    folder: Path, events: list[Event], run: Run
) -> None:
    asyncio.run(
        _save(folder / "spool.db", "oncall", 8, {Lane("//stuff", "alerts"): Behind(4, ((5, 5), (7, 7)))})
    )
    place = ("--spool", "spool.db")
    listed = objects(run("spool", "list", "--sink", "oncall", "--json", place=place)[1])
    assert [found["id"] for found in listed] == [events[n].id for n in (3, 5, 7, 8, 9)]
    [found] = objects(run("spool", "stats", "--json", place=place)[1])
    assert found["sinks"][1] == {"sink": "oncall", "floor": 8, "behind": 5, "dead_letters": 3}


async def _save(path: Path, sink: str, floor: int, behind: dict[Lane, Behind]) -> None:
    spool = SqliteSpool(path)
    await spool.open()
    spool.save(sink, floor, behind)
    await spool.close()


def test_show_tells_the_story_of_an_event(run: Run, events: list[Event]) -> None:
    code, out, _ = run("spool", "show", events[1].id)
    assert code == 0
    assert "routes    routes[1]; to audit, oncall" in out
    assert "oncall: dead letter: gave up" in out
    assert "attempt 1: failed in 1.5 ms, worth another try, 2 events together: 503 busy" in out
    [found] = objects(run("spool", "show", events[0].id, "--json")[1])
    assert found["record"] == events[0].record()
    assert found["routes"] == ["routes[0]"]
    assert found["sinks"]["audit"].startswith("finished")
    [found] = objects(run("spool", "show", events[6].id, "--json")[1])
    assert found["sinks"] == {"audit": "no route leads there", "oncall": "no route leads there"}
    assert run("spool", "show", events[0].id[:-1])[0] == 0, "the beginning is enough"
    assert run("spool", "show", events[1].id[:4])[0] == 64
    code, _, err = run("spool", "show", "nonsense")
    assert (code, err.startswith("tdbwatch spool show: no event nonsense")) == (66, True)


@pytest.mark.parametrize(
    ("outcome", "microseconds", "said"),
    [
        ("delivered", 43_400, "delivered in 43 ms: 503 busy"),
        ("retry", 999_400, "failed in 999 ms, worth another try: 503 busy"),
        ("error", 30_001_000, "failed in 30.0 s with an error: 503 busy"),
        ("rejected", 999_600, "rejected for good in 1.0 s: 503 busy"),
        ("paused", 420, "failed in 0.4 ms, and the sink asked for a pause: 503 busy"),
        ("retry", 119_990_000, "failed in 2 min 0 s, worth another try: 503 busy"),
        ("retry", 3_723_000_000, "failed in 62 min 3 s, worth another try: 503 busy"),
        ("of-a-newer-version", 9_960, "of-a-newer-version in 10 ms: 503 busy"),
    ],
)
def test_an_attempt_says_what_came_of_it_and_how_long_it_took_and_nothing_of_waiting(
    run: Run, folder: Path, events: list[Event], outcome: str, microseconds: int, said: str
) -> None:
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute(
            "UPDATE attempts SET outcome = ?, duration_us = ?, seqs = x'91920202'", (outcome, microseconds)
        )
    assert f"  attempt 1: {said}\n" in run("spool", "show", events[1].id)[1]


def test_what_waits_after_one_attempt_is_said_in_the_singular(
    run: Run, folder: Path, events: list[Event]
) -> None:
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute("UPDATE attempts SET seqs = x'91920606', last_seq = 6")
    assert "oncall: waits, after 1 attempt\n" in run("spool", "show", events[5].id)[1]


def test_show_says_what_no_routes_mean(run: Run, folder: Path, events: list[Event]) -> None:
    (folder / "prod.yaml").write_text(re.sub(r"routes:\n.*\n.*\n", "", CONFIG))
    code, out, _ = run("spool", "show", events[1].id)
    assert code == 0
    assert "  routes    none configured, so every event goes to every sink; to audit, oncall\n" in out
    room = Event.create("alerts", "joined", [], kind=Kind.ROOM)
    asyncio.run(fill(folder / "other.db", [room, *made(1)], dead=0))
    (folder / "prod.yaml").write_text((folder / "prod.yaml").read_text().replace("spool.db", "other.db"))
    out = run("spool", "show", room.id)[1]
    assert "  routes    none configured, so a record of a room goes nowhere; to no sink\n" in out


def test_an_attempt_that_makes_no_sense_is_passed_over(run: Run, folder: Path, events: list[Event]) -> None:
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO attempts(first_seq, last_seq, seqs, sink, attempt, started_us, duration_us, outcome,"
            " detail) VALUES (2, 2, x'c0', 'oncall', 1, 1, 1, 'retry', '')"
        )
    code, out, _ = run("spool", "show", events[1].id)
    assert code == 0
    assert out.count("  attempt ") == 1
