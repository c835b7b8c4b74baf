"""`tdbwatch spool requeue` and `drop`, and `replay`: what they order, and refuse."""

import asyncio
from pathlib import Path

import pytest

from tdbwatch.daemon.spool.api import Behind
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.plugin import Event

from .kit import CONFIG, Run, fill, objects


async def _save(path: Path, sink: str, floor: int, behind: dict[Lane, Behind]) -> None:
    spool = SqliteSpool(path)
    await spool.open()
    spool.save(sink, floor, behind)
    await spool.close()


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
    asyncio.run(fill(folder / "other.db", events, dead=3, outcome=outcome))
    if held_up:  # the first of its room waits, and the dead letters are behind it
        behind = {Lane("//stuff", "alerts"): Behind(1, ((2, 3),))}
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
