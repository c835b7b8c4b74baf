"""`tdbwatch spool` and `replay`, on spools that no daemon uses: what they show, change, refuse and answer."""

import asyncio
import errno
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.cli.app import build_parser, main
from tdbwatch.daemon.spool import Attempt, DeadLetter
from tdbwatch.daemon.spool.api import Behind
from tdbwatch.daemon.spool.file.lock import SpoolLock
from tdbwatch.daemon.spool.looking.log import Log
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.orders import Order, Selection
from tdbwatch.daemon.spool.stored.tables import entries_of
from tdbwatch.plugin import Event, Kind

HOUR_US = 3_600_000_000
CONFIG = """
thingsdb: {nodes: [node01], auth: {token: t}}
rooms: [alerts, ops]
sinks: {audit: {type: log}, oncall: {type: log}}
routes:
  - {match: {room: ops}, to: audit, stop: true}
  - {match: {event: "disk-*"}, to: [audit, oncall]}
spool: {path: spool.db}
"""
Run = Callable[..., tuple[int, str, str]]


def made(count: int) -> list[Event]:
    names = ("disk-full", "cpu-high")
    return [Event.create("alerts", names[n % 2], [n]) for n in range(count)]


async def _fill(path: Path, events: list[Event], *, dead: int, outcome: str = "retry") -> None:
    spool = SqliteSpool(path, sinks=["audit", "oncall"])
    await spool.open()
    for event in events:  # each in a block of its own
        spool.append(heard([event]))
        await spool.flush()
    entries = [entry for block in await spool.read(0, 1 << 24) for entry in entries_of(block)]
    letters = [
        DeadLetter(
            "oncall", entry, "gave up", 3, "503", "504", entry.event.received_us, entry.event.received_us
        )
        for entry in entries[:dead]
    ]
    await spool.dead_letter("oncall", dead, {}, letters)
    spool.note([Attempt("oncall", (1, 2), 1, entries[0].event.received_us, 1500, outcome, "503 busy")])
    spool.save("audit", 4, {})
    await spool.close()


@pytest.fixture
def events() -> list[Event]:
    old = Event.create("ops", "deploy", [{"by": "ci"}], received_us=Event.create().received_us - 2 * HOUR_US)
    return [old, *made(9)]


@pytest.fixture
def folder(tmp_path: Path, events: list[Event]) -> Path:
    """A configuration, and a spool of ten events, of which audit has four and oncall gave up three."""
    (tmp_path / "prod.yaml").write_text(CONFIG)
    asyncio.run(_fill(tmp_path / "spool.db", events, dead=3))
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with the configuration; its exit code, output and errors."""
    monkeypatch.chdir(folder)

    def run(*args: str, place: tuple[str, ...] = ("--config", "prod.yaml")) -> tuple[int, str, str]:
        try:
            code = main([*args, *place])
        except SystemExit as error:
            code = int(str(error.code))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


def objects(out: str) -> list[Any]:
    return [json.loads(line) for line in out.splitlines()]


def test_stats_in_json_are_stable(run: Run, folder: Path) -> None:
    code, out, _ = run("spool", "stats", "--json")
    [found] = objects(out)
    assert code == 0
    assert found["path"] == str(folder / "spool.db")
    assert found["used_by"] is None
    assert found["events"]["count"] == 10
    assert found["sinks"] == [
        {"sink": "audit", "floor": 4, "behind": 3, "dead_letters": 0},
        {"sink": "oncall", "floor": 3, "behind": 4, "dead_letters": 3},
    ]
    assert (found["orders"], found["dropped"], found["unrouted"]) == ([], [], 4)


def test_stats_count_as_behind_what_a_list_of_the_sink_shows(run: Run, folder: Path) -> None:
    behind = {Lane("//stuff", "alerts"): Behind(4, (6, 8))}
    asyncio.run(_save(folder / "spool.db", "oncall", 9, behind))
    for place in (("--config", "prod.yaml"), ("--spool", "spool.db")):
        [found] = objects(run("spool", "stats", "--json", place=place)[1])
        for sink in found["sinks"]:
            listed = run("spool", "list", "--json", "--sink", sink["sink"], place=place)[1]
            assert sink["behind"] == len(objects(listed)) > 0


def test_what_no_route_takes_can_be_listed(run: Run) -> None:
    [found] = objects(run("spool", "stats", "--json")[1])
    code, out, _ = run("spool", "list", "--unrouted", "--json")
    assert (code, len(objects(out))) == (0, found["unrouted"])
    assert len(objects(run("spool", "list", "--unrouted", "--json", "--limit", "1")[1])) == 1
    code, _, err = run("spool", "list", "--unrouted", place=("--spool", "spool.db"))
    assert (code, "it needs --config" in err) == (64, True)


def test_stats_for_people(run: Run) -> None:
    code, out, _ = run("spool", "stats")
    assert code == 0
    assert "no daemon uses it\n10 entries, received " in out
    assert "\n".join(out.splitlines()[-4:]) == (
        "sink    behind  dead letters\naudit        3             0\noncall       4             3\n"
        "4 events that no route takes: no sink gets them; `spool list --unrouted` shows them"
    )
    assert "no route" not in run("spool", "stats", place=("--spool", "spool.db"))[1]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), range(10)),
        (("--limit", "2"), (8, 9)),
        (("--limit", "0"), range(10)),
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
    asyncio.run(_save(folder / "spool.db", "oncall", 8, {Lane("//stuff", "alerts"): Behind(4, (5, 7))}))
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


def test_export_writes_the_records_of_docs_and_never_over_a_file(
    run: Run, folder: Path, events: list[Event]
) -> None:
    code, out, _ = run("spool", "export")
    assert code == 0
    assert objects(out) == [event.record() for event in events]
    assert run("spool", "export", "--dead", "--output", "dead.jsonl")[0] == 0
    letters = objects((folder / "dead.jsonl").read_text())
    assert [letter["dead_letter"]["last_error"] for letter in letters] == ["504"] * 3
    code, _, err = run("spool", "export", "--output", "dead.jsonl")
    assert (code, err) == (73, "tdbwatch spool export: dead.jsonl is there already; name a new file\n")
    assert (folder / "dead.jsonl").stat().st_mode & 0o137 == 0, "not for everyone"


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


def test_an_export_has_each_event_once_though_it_was_put_into_the_log_again(
    run: Run, folder: Path, events: list[Event]
) -> None:
    asyncio.run(_copy(folder / "spool.db", [events[2], events[3], events[2]]))
    listed = objects(run("spool", "list", "--json")[1])
    assert [found["id"] for found in listed[10:]] == [events[n].id for n in (2, 3, 2)]
    assert objects(run("spool", "export")[1]) == [event.record() for event in events]
    due = ["export", "--sink", "oncall", "--event", "disk-*"]
    assert [found["id"] for found in objects(run("spool", *due)[1])] == [
        events[n].id for n in (3, 5, 7, 9)
    ], "the third is a copy of one that waits, too"
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM blocks WHERE first_seq <= 5")
    ids = [found["id"] for found in objects(run("spool", "export")[1])]
    assert ids == [events[n].id for n in (5, 6, 7, 8, 9, 2, 3)], "of what is gone the first copy is left"


async def _copy(path: Path, again: list[Event]) -> None:
    """Put these into the log again, as a requeue for oncall does."""
    spool = SqliteSpool(path)
    await spool.open()
    order = Order(1, "requeue", "oncall", Selection(), 0, 1)
    assert await spool.redeliver(order, heard(again), 1)
    await spool.close()


def test_what_comes_in_during_an_export_is_left_out_rather_than_written_twice(
    run: Run, folder: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(log: Log, last: int) -> frozenset[str]:
        found = seen(log, last)
        asyncio.run(_copy(folder / "spool.db", [events[2]]))
        return found

    seen = Log.copied
    monkeypatch.setattr(Log, "copied", copied)
    assert objects(run("spool", "export")[1]) == [event.record() for event in events]


def test_a_spool_that_cannot_be_written_is_named(run: Run, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON orders BEGIN SELECT RAISE(FAIL, 'no'); END")
    for place in (("--config", "prod.yaml"), ("--spool", str(folder / "spool.db"))):
        code, _, err = run("spool", "requeue", "--all", place=place)
        assert code == 73
        message = f"the spool {folder}/spool.db cannot be written: no; see the disk"
        assert err.startswith(f"tdbwatch spool requeue: {message}")


def test_a_damaged_spool_is_named(run: Run, folder: Path) -> None:
    with (folder / "spool.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)
    code, _, err = run("spool", "list")
    assert code == 65
    assert err.startswith(f"tdbwatch spool list: the spool {folder}/spool.db is damaged: ")


def test_a_sink_that_no_daemon_has_started_is_in_the_stats(run: Run, folder: Path) -> None:
    (folder / "prod.yaml").write_text(CONFIG.replace("{audit:", "{fresh: {type: log}, audit:"))
    assert run("spool", "stats")[1].splitlines()[-5:-1] == [
        "sink                     behind  dead letters",
        "audit                         3             0",
        "fresh (not started yet)       -             0",
        "oncall                        4             3",
    ]
    [found] = objects(run("spool", "stats", "--json")[1])
    assert found["sinks"][2] == {"sink": "fresh", "floor": None, "behind": None, "dead_letters": 0}
    assert "fresh" not in run("spool", "stats", place=("--spool", "spool.db"))[1]


def test_doctor_beside_a_daemon_leaves_the_repair_to_it(run: Run, folder: Path) -> None:
    lock = SpoolLock(folder / "spool.db")
    lock.acquire()
    with (folder / "spool.db").open("r+b") as file:
        file.write(os.urandom(4096))
    try:
        code, out, err = run("spool", "doctor")
    finally:
        lock.release()
    assert (code, out[:7]) == (65, "damage ")
    assert err == (
        f"tdbwatch spool doctor: process {os.getpid()} uses the spool, "
        "and repairs it by itself within seconds of coming upon the damage\n"
        "    look again then; only if it is still damaged, stop it (which makes a gap) and run this again\n"
    )


def test_doctor_says_one_dead_letter_in_the_singular(run: Run) -> None:
    assert run("spool", "drop", "--event", "disk-*", "--yes")[0] == 0
    assert run("spool", "drop", "--event", "deploy", "--yes")[0] == 0
    assert "note    oncall: 1 dead letter\n" in run("spool", "doctor")[1]


def test_requeue_by_id_leaves_an_order_for_the_daemon(run: Run, events: list[Event]) -> None:
    code, out, _ = run("spool", "requeue", events[1].id, events[2].id)
    assert (code, out) == (0, "oncall: 2 dead letters will be delivered again when the daemon runs\n")
    [found] = objects(run("spool", "stats", "--json")[1])
    assert found["orders"] == [
        {"kind": "requeue", "sink": "oncall", "position": 0, "through": 3, "missed": 0}
    ]
    assert run("spool", "requeue", "no-such-id")[0] == 66
    assert run("spool", "requeue", "--sink", "audit")[:2] == (0, "no dead letter matches\n")
    assert run("spool", "requeue")[0] == 64


def test_who_asks_twice_is_told_that_the_first_requeue_waits(run: Run) -> None:
    once = "oncall: 3 dead letters will be delivered again when the daemon runs\n"
    assert run("spool", "requeue", "--all")[:2] == (0, once)
    twice = "oncall: a requeue that was asked for earlier waits, too; no dead letter comes twice\n"
    assert run("spool", "requeue", "--all")[:2] == (0, once + twice)
    dropped = "3 dead letters deleted\noncall: a requeue waits; it will not find them\n"
    assert run("spool", "drop", "--all", "--yes")[:2] == (0, dropped)


@pytest.mark.parametrize("held_up", [False, True])
@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("rejected", "not delivered; its dead letter was deleted, or became too old to be kept"),
        ("retry", "finished; its last attempt, or its dead letter, is not kept any more"),
    ],
)
def test_a_dead_letter_that_was_deleted_looks_neither_delivered_nor_as_if_it_waited(
    run: Run, folder: Path, events: list[Event], held_up: bool, outcome: str, said: str
) -> None:
    (folder / "prod.yaml").write_text(CONFIG.replace("spool.db", "other.db"))
    asyncio.run(_fill(folder / "other.db", events, dead=3, outcome=outcome))
    if held_up:  # the first of its room waits, and the dead letters are behind it
        behind = {Lane("//stuff", "alerts"): Behind(1, (2, 3))}
        asyncio.run(_save(folder / "other.db", "oncall", 3, behind))
    assert run("spool", "drop", "--all", "--yes")[0] == 0
    assert f"oncall: {said}\n" in run("spool", "show", events[1].id)[1]
    assert "oncall: waits\n" in run("spool", "show", events[3].id)[1]


def test_drop_deletes_only_when_told_twice(run: Run) -> None:
    code, _, err = run("spool", "drop", "--event", "disk-*")
    assert (code, err) == (
        64,
        "tdbwatch spool drop: 1 dead letter would be deleted for good; say --yes to do it\n",
    )
    assert len(objects(run("spool", "list", "--dead", "--json")[1])) == 3
    assert run("spool", "drop", "--event", "disk-*", "--yes")[:2] == (0, "1 dead letter deleted\n")
    assert len(objects(run("spool", "list", "--dead", "--json")[1])) == 2


def test_replay_wants_a_sink_that_there_is(run: Run) -> None:
    assert run("replay")[0] == 64
    code, _, err = run("replay", "--sink", "nobody")
    assert (code, err) == (64, "tdbwatch replay: there is no sink 'nobody'; there are: audit, oncall\n")
    assert run("replay", "--sink", "nobody", place=("--spool", "spool.db"))[0] == 64
    code, out, _ = run("replay", "--sink", "audit", "--since", "1h")
    assert code == 0
    assert (
        out == "of 9 records, those that the routes send there will be delivered again when the daemon runs\n"
    )
    assert run("replay", "--sink", "audit", "--until", "1h")[1].startswith("of 1 record, ")
    assert run("replay", "--sink", "oncall", "--dead")[1].startswith("3 dead letters will be delivered again")


@pytest.mark.parametrize("action", ["stats", "list", "export", "doctor", "requeue --all", "show x"])
def test_no_spool_ends_with_66(run: Run, folder: Path, action: str) -> None:
    code, _, err = run("spool", *action.split(), place=("--spool", "nowhere.db"))
    assert (code, "there is no spool at nowhere.db" in err) == (66, True)
    assert not (folder / "nowhere.db").exists()


def test_another_database_ends_with_66_and_is_left_alone(run: Run, folder: Path) -> None:
    with sqlite3.connect(folder / "other.db") as connection:
        connection.execute("CREATE TABLE precious(data)")
    connection.close()
    code, _, err = run("spool", "doctor", place=("--spool", "other.db"))
    assert (code, "not a spool of tdbwatch" in err) == (66, True)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (CONFIG.replace("spool.db}", "7}"), ":8:15: spool.path: "),
        (CONFIG.replace("spool:", "spol:"), ":8:1: spol: unknown key\n    did you mean spool?"),
        (CONFIG.replace("spool.db", '"${NOT_SET_HERE}"'), ":8:15: spool.path: the environment variable"),
        ("spool: {path: spool.db}\nsinks: 7", ":2:8: sinks: must be a mapping"),
    ],
)
def test_a_bad_configuration_ends_with_78(run: Run, folder: Path, text: str, place: str) -> None:
    (folder / "prod.yaml").write_text(text)
    code, _, err = run("spool", "stats")
    assert (code, f"prod.yaml{place}" in err) == (78, True), err


def test_what_is_wrong_elsewhere_in_the_configuration_keeps_nobody_from_the_spool(
    run: Run, folder: Path
) -> None:
    elsewhere = CONFIG.replace("token: t", "token_credential: not-in-this-shell").replace("alerts, ops", "4")
    sinks = elsewhere.replace("{type: log}}", '{type: nobody-offers-it, secret: "${NOT_SET_HERE}"}}')
    (folder / "prod.yaml").write_text(sinks)
    assert run("spool", "stats")[0] == 0
    assert run("spool", "requeue", "--sink", "oncall")[0] == 0


def test_no_plugin_is_imported(run: Run, folder: Path, events: list[Event]) -> None:
    plugins = folder / "plugins.d"
    plugins.mkdir(mode=0o755)
    (plugins / "slow.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    (folder / "prod.yaml").write_text(CONFIG + "plugins: {paths: [plugins.d]}\n")
    actions = (
        "stats",
        "list",
        f"show {events[1].id}",
        "requeue --all",
        "drop --all --yes",
        "export",
        "doctor",
    )
    for action in actions:
        assert run("spool", *action.split())[0] == 0
    assert run("replay", "--sink", "audit")[0] == 0
    assert not (folder / "imported").exists()


@pytest.mark.parametrize(
    "args", [("list",), ("list", "--dead"), ("export", "--output", "out.jsonl"), ("requeue",), ("drop",)]
)
def test_a_sink_that_nobody_knows_is_refused(run: Run, folder: Path, args: tuple[str, ...]) -> None:
    for place in (("--config", "prod.yaml"), ("--spool", "spool.db")):
        code, out, err = run("spool", *args, "--sink", "oncal", place=place)
        message = "there is no sink 'oncal'; did you mean oncall? there are: audit, oncall\n"
        assert (code, out, err) == (64, "", f"tdbwatch spool {args[0]}: {message}")
    assert not (folder / "out.jsonl").exists(), "nothing is begun"


def test_a_sink_that_was_taken_out_of_the_configuration_can_still_be_looked_after(
    run: Run, folder: Path
) -> None:
    (folder / "prod.yaml").write_text(CONFIG.replace(", oncall: {type: log}", "").replace(", oncall]", "]"))
    assert len(objects(run("spool", "list", "--sink", "oncall", "--json")[1])) == 7
    assert len(objects(run("spool", "export", "--sink", "oncall", "--dead")[1])) == 3
    waits = "again when there is a sink 'oncall' again: none of this name is configured\n"
    for requeue in (("spool", "requeue", "--sink", "oncall"), ("replay", "--sink", "oncall", "--dead")):
        said = run(*requeue)[1]
        assert said.endswith(waits)
        assert "within about a second" not in said
    code, out, _ = run("spool", "drop", "--sink", "oncall", "--yes")
    given_up = (
        "7 undelivered events and 3 dead letters of oncall, which is not in the configuration, given up"
    )
    assert (code, out.splitlines()[0]) == (0, given_up)
    code, _, err = run("replay", "--sink", "oncall")
    assert (code, err) == (64, "tdbwatch replay: there is no sink 'oncall'; there are: audit\n")


def test_a_configured_sink_is_known_before_the_spool_has_heard_of_it(run: Run, folder: Path) -> None:
    (folder / "prod.yaml").write_text(CONFIG.replace("{audit:", "{fresh: {type: log}, audit:"))
    assert run("spool", "list", "--sink", "fresh", "--dead")[:2] == (0, "")
    assert run("spool", "drop", "--sink", "fresh")[:2] == (0, "no dead letter matches\n")


def test_a_time_that_ends_before_it_begins_is_refused(run: Run) -> None:
    code, _, err = run("spool", "list", "--since", "1h", "--until", "2h")
    assert (code, "--since is not before --until; a duration says how long ago" in err) == (64, True)


@pytest.mark.parametrize("wrong", [("--since", "soon"), ("--sink", "nobody")])
def test_an_export_that_is_not_begun_leaves_no_file(run: Run, folder: Path, wrong: tuple[str, str]) -> None:
    assert run("spool", "export", "--output", "out.jsonl", *wrong)[0] == 64
    assert run("spool", "export", "--output", "out.jsonl", place=("--spool", "nowhere.db"))[0] == 66
    assert not (folder / "out.jsonl").exists()


def test_an_export_that_fails_leaves_no_file(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdbwatch.cli.spool_text.letter_json", _disk_is_full)
    code, _, err = run("spool", "export", "--dead", "--output", "out.jsonl")
    assert (code, err) == (73, "tdbwatch spool export: out.jsonl: No space left on device\n")
    assert not (folder / "out.jsonl").exists()


def _disk_is_full(_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_show_says_what_no_routes_mean(run: Run, folder: Path, events: list[Event]) -> None:
    (folder / "prod.yaml").write_text(re.sub(r"routes:\n.*\n.*\n", "", CONFIG))
    code, out, _ = run("spool", "show", events[1].id)
    assert code == 0
    assert "  routes    none configured, so every event goes to every sink; to audit, oncall\n" in out
    room = Event.create("alerts", "joined", [], kind=Kind.ROOM)
    asyncio.run(_fill(folder / "other.db", [room, *made(1)], dead=0))
    (folder / "prod.yaml").write_text((folder / "prod.yaml").read_text().replace("spool.db", "other.db"))
    out = run("spool", "show", room.id)[1]
    assert "  routes    none configured, so a record of a room goes nowhere; to no sink\n" in out


@pytest.mark.parametrize(
    "args",
    [["list", "--since", "soon"], ["list", "--until", "soon"], ["list", "--limit", "-1"], ["nonsense"], []],
)
def test_wrong_usage_ends_with_64(run: Run, args: list[str]) -> None:
    assert run("spool", *args)[0] == 64


def test_doctor_says_when_all_is_fine(run: Run) -> None:
    code, out, _ = run("spool", "doctor")
    assert code == 0
    assert out.startswith("fine    the file is sound\nnote    oncall: 3 dead letters\n")
    assert "tdbwatch spool requeue --sink oncall" in out


async def _crash(source: Path, target: Path, events: list[Event]) -> None:
    """At `target` what a kill leaves: a file, and a log that has all of it."""
    spool = SqliteSpool(source)
    await spool.open()
    spool.append(heard(events))
    await spool.flush()
    for suffix in ("", "-wal"):
        Path(f"{target}{suffix}").write_bytes(Path(f"{source}{suffix}").read_bytes())
    await spool.close()


def test_doctor_sees_an_overwritten_file_also_when_its_log_still_has_all_of_it(
    run: Run, folder: Path
) -> None:
    events = [Event.create("alerts", "large", ["x" * 500]) for _ in range(200)]  # the log has every page
    (folder / "prod.yaml").write_text(CONFIG.replace("spool.db", "crashed.db"))
    asyncio.run(_crash(folder / "source.db", folder / "crashed.db", events))
    (folder / "crashed.db.lock").write_text("1\n")
    with (folder / "crashed.db").open("r+b") as file:
        file.write(os.urandom(4096))
    code, out, _ = run("spool", "doctor")
    assert code == 0
    assert "damage  the beginning of the file was overwritten" in out
    assert "; 200 undelivered events and 0 dead letters were saved; none is missing" in out
    assert run("spool", "doctor")[1].startswith("fine    the file is sound\n")
    assert len(objects(run("spool", "list", "--json", "--limit", "0")[1])) == 200


def test_doctor_repairs_what_can_be_read_and_keeps_the_damaged_file(
    run: Run, folder: Path, events: list[Event]
) -> None:
    path = folder / "spool.db"
    with sqlite3.connect(path) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))
    code, out, _ = run("spool", "doctor", "--dry-run")
    assert code == 65
    assert out.startswith("damage  ")
    code, out, _ = run("spool", "doctor")
    assert code == 0
    assert "7 undelivered events and 3 dead letters were saved" in out
    assert run("spool", "doctor")[1].startswith("fine    the file is sound")
    assert len(list(folder.glob("spool.db.damaged-*Z"))) == 1
    found = objects(run("spool", "list", "--json")[1])
    assert [record["id"] for record in found] == [event.id for event in events[3:]]
    assert len(objects(run("spool", "list", "--dead", "--json")[1])) == 3


@pytest.mark.parametrize(
    ("nonsense", "commands"),
    [
        ("UPDATE blocks SET body = x'91c0' WHERE first_seq = 7", ["list", "export", "show x"]),
        ("UPDATE blocks SET room = CAST(x'ff' AS TEXT) WHERE first_seq = 7", ["list", "export"]),
        (
            "UPDATE dead_letters SET run = x'c0'",
            ["list --dead", "requeue --all", "drop --all --yes", "show x"],
        ),
        ("UPDATE dead_letters SET dead_us = 1 << 62", ["list --dead", "export --dead"]),
        ("UPDATE progress SET floor = 'x'", ["stats", "list --sink oncall"]),
        ("UPDATE progress SET floor = 1 << 60", ["stats", "list --sink oncall"]),
        ("INSERT INTO behind VALUES ('gone', '', '', 1, x'90', x'90')", ["stats", "list --sink oncall"]),
        ("INSERT INTO drops VALUES ('r', '', '', 'x', 1, 2)", ["stats"]),
    ],
)
def test_a_row_that_makes_no_sense_is_damage_for_every_command_and_the_doctor_finds_and_mends_it(
    run: Run, folder: Path, events: list[Event], nonsense: str, commands: list[str]
) -> None:
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute(nonsense)
    for command in commands:
        code, _, err = run("spool", *command.format(events[0].id).split())
        assert (code, "spool.db is damaged: " in err) == (65, True), command
    assert run("spool", "doctor", "--dry-run")[0] == 65
    assert run("spool", "doctor")[0] == 0
    assert run("spool", "doctor")[1].startswith("fine    the file is sound")
    found = {record["id"] for record in objects(run("spool", "list", "--json")[1])}
    lost = {events[6].id} if "blocks" in nonsense else set()
    assert {event.id for event in events[3:]} - lost <= found


def test_an_attempt_that_makes_no_sense_is_passed_over(run: Run, folder: Path, events: list[Event]) -> None:
    with closing(sqlite3.connect(folder / "spool.db", isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO attempts(first_seq, last_seq, seqs, sink, attempt, started_us, duration_us, outcome,"
            " detail) VALUES (2, 2, x'c0', 'oncall', 1, 1, 1, 'retry', '')"
        )
    code, out, _ = run("spool", "show", events[1].id)
    assert code == 0
    assert out.count("  attempt ") == 1


@pytest.mark.parametrize("action", ["stats", "list", "show", "requeue", "drop", "export", "doctor"])
def test_every_help_fits_a_screen_and_shows_an_example(
    action: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        build_parser().parse_args(["spool", action, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert "example:" in lines
    assert len(lines) <= 23, "with the prompt 24"
    assert max(map(len, lines)) <= 80


def test_the_help_of_stats_explains_every_column(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    head = run("spool", "stats")[1].splitlines()[-4]
    columns = [name for name in re.split(r"\s{2,}", head) if name != "sink"]
    assert columns == ["behind", "dead letters"]
    with pytest.raises(SystemExit):
        build_parser().parse_args(["spool", "stats", "--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"^{name} +\w", text, re.MULTILINE) for name in ("entries", *columns))


def test_what_rooms_and_events_are_called_cannot_drive_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_fill(tmp_path / "s.db", [Event.create("a\x1b[2J", "b\nc", ["\x07"])], dead=1))
    for args in (["list"], ["list", "--dead"]):
        assert main(["spool", *args, "--spool", str(tmp_path / "s.db")]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert out.count("\n") == 1


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so it is somebody else for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("forbidden", [".", "spool.db"])
@pytest.mark.parametrize("args", [("stats",), ("list",), ("show", "x"), ("doctor",), ("requeue", "--all")])
def test_what_this_user_may_not_read_is_said_in_one_line(
    run: Run, folder: Path, args: tuple[str, ...], forbidden: str
) -> None:
    place = ("--spool", "spool.db")  # seen from within: the folders above are the test runner's
    run("spool", *args, place=place)  # what a command imports is read before, as the test's own user
    folder.chmod(0o755)
    (folder / forbidden).chmod(0)
    try:
        with as_nobody():
            code, out, err = run("spool", *args, place=place)
    finally:
        folder.chmod(0o755)
    remedy = "run this as the owner of the spool, or as root"
    assert (code, out) == (77, "")
    assert err.startswith(f"tdbwatch spool {args[0]}: Permission denied: ")
    assert "spool.db" in err
    assert err.endswith(f"; {remedy}\n")


def test_a_plugin_that_is_a_sink_by_its_hook_is_one_of_the_sinks(run: Run, folder: Path) -> None:
    (folder / "plugins.d").mkdir(mode=0o755)
    (folder / "plugins.d" / "pager.py").write_text("raise RuntimeError\ndef tdbwatch_event(event): pass\n")
    (folder / "plugins.d" / "pager.py").chmod(0o644)
    (folder / "prod.yaml").write_text(CONFIG + "plugins: {paths: [plugins.d]}\n")
    code, out, err = run("spool", "stats")
    assert (code, err) == (0, "")
    assert "pager" in out


@pytest.mark.parametrize(
    ("time", "code"),
    [
        ("0001-01-01T00:00:00+14:00", 0),
        ("9999-12-31T23:59:59-14:00", 0),
        ("10000-01-01", 64),
        ("9999999999999999d", 64),
    ],
)
@pytest.mark.parametrize("option", ["--since", "--until"])
def test_times_at_the_ends_of_the_calendar_and_beyond_end_in_words(
    run: Run, option: str, time: str, code: int
) -> None:
    found, _, err = run("spool", "list", option, time)
    assert found == code
    assert code == 0 or "neither a duration" in err
