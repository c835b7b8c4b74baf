"""Sinks that are gone from the configuration: `spool move` and `spool drop`, without a daemon."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.cli.app import main
from tdbwatch.daemon.spool.api import Behind
from tdbwatch.daemon.spool.looking.gone import LeftBehind, left_in
from tdbwatch.daemon.spool.looking.look import opened
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane, heard
from tdbwatch.daemon.spool.stored.orders import Selection
from tdbwatch.plugin import Event, Kind

from .conftest import MakeSpool

ALERTS = Lane("//stuff", "alerts")
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`oncall` has 2 of 10 events, one beyond, and 2 dead letters; then it was renamed to `pager`."""
    folder = make_spool([Event.create("alerts", "disk-full", [n]) for n in range(10)], dead=2)
    asyncio.run(
        _go_on(folder / "spool.db", ["audit", "oncall"], floor=5, behind={ALERTS: Behind(3, ((5, 5),))})
    )
    config = (folder / "prod.yaml").read_text()
    (folder / "prod.yaml").write_text(config.replace("oncall", "pager"))
    monkeypatch.chdir(folder)
    return folder


async def _go_on(
    path: Path, sinks: list[str], *, floor: int = 0, behind: Any = None, events: int = 0
) -> None:
    """A daemon with these sinks runs for a while, and the last of them has got so far."""
    spool = SqliteSpool(path, sinks=sinks)
    await spool.open()
    spool.append(heard([Event.create("alerts", "later", [n]) for n in range(events)]))
    await spool.flush()
    if floor:
        spool.save(sinks[-1], floor, behind or {})
    await spool.close()


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*args: str) -> tuple[int, str]:
        code = main([*args, "--config", "prod.yaml"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out + err

    return run


def unfinished(path: Path, sink: str) -> list[int]:
    with opened(path) as look:
        return [entry.seq for entry in look.log.unfinished(Selection(), sink, None)]


def test_what_it_left_is_only_what_came_while_it_was_there(run: Run, folder: Path) -> None:
    left = LeftBehind("oncall", 7, 2)
    assert left_in(folder / "spool.db", ["audit", "pager"]) == (left,)
    asyncio.run(_go_on(folder / "spool.db", ["audit", "pager"], events=20))
    assert left_in(folder / "spool.db", ["audit", "pager"]) == (left,)
    assert left_in(folder / "spool.db", ["audit", "oncall", "pager"]) == ()


def test_what_the_stop_itself_says_of_nodes_is_nothing_left_behind(folder: Path) -> None:
    async def stop(sinks: list[str]) -> None:
        spool = SqliteSpool(folder / "spool.db", sinks=sinks)
        await spool.open()
        spool.save("pager", 10, {})
        gone = Event.create("", "disconnected", kind=Kind.NODE, scope="", details={"node": "node01:9200"})
        spool.append(heard([gone]))
        await spool.flush()
        await spool.close()

    asyncio.run(stop(["audit", "pager"]))
    asyncio.run(_go_on(folder / "spool.db", ["audit"]))
    left = {one.sink for one in left_in(folder / "spool.db", ["audit"])}
    assert left == {"oncall"}
    assert unfinished(folder / "spool.db", "pager") == []


def test_what_is_listed_of_it_is_what_is_counted(folder: Path) -> None:
    asyncio.run(_go_on(folder / "spool.db", ["audit", "pager"], events=20))
    [left] = left_in(folder / "spool.db", ["audit", "pager"])
    assert len(unfinished(folder / "spool.db", "oncall")) == left.events == 7


def test_check_and_stats_name_it(run: Run, folder: Path) -> None:
    code, text = run("check")
    assert code == 0
    assert "sinks: warning: there is no oncall, and the spool" in text
    assert "has 7 undelivered events and 2 dead letters of it" in text
    assert "1 warning" in text
    assert re.search(r"oncall \(not configured\) +7 +2\n", run("spool", "stats")[1])


def test_before_the_new_one_has_begun_all_becomes_its_own_in_order(run: Run, folder: Path) -> None:
    path, before = folder / "spool.db", unfinished(folder / "spool.db", "oncall")
    code, text = run("spool", "move", "oncall", "pager")
    assert (code, text) == (0, "7 undelivered events and 2 dead letters of oncall: now pager's\n")
    assert unfinished(path, "pager") == before
    with opened(path) as look:
        assert look.sinks() == {"audit", "pager"}
        assert {letter.sink for letter in look.letters.some(Selection())} == {"pager"}
    assert left_in(path, ["audit", "pager"]) == ()


def test_where_the_new_one_has_begun_it_loses_nothing_and_the_daemon_is_asked(run: Run, folder: Path) -> None:
    path = folder / "spool.db"
    asyncio.run(_go_on(path, ["audit", "pager"], events=5, floor=14))
    code, text = run("spool", "move", "oncall", "pager")
    assert (code, text) == (
        0,
        "7 undelivered events and 2 dead letters of oncall: will be pager's when the daemon runs\n",
    )
    assert unfinished(path, "pager") == [15]
    with opened(path) as look:
        [order] = look.orders()
    assert (order.kind, order.sink, order.selection.sink) == ("move", "pager", "oncall")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("oncall", "nobody"), "there is no sink 'nobody'"),
        (("nobody", "pager"), "there is no sink 'nobody'"),
        (("audit", "pager"), "audit is in the configuration, so it gets its events itself"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(
    run: Run, folder: Path, args: tuple[str, str], said: str
) -> None:
    code, text = run("spool", "move", *args)
    assert code == 64
    assert said in text


def test_without_a_configuration_nobody_knows_which_sinks_are_gone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spool", "move", "oncall", "pager", "--spool", "spool.db"]) == 64
    assert "say --config FILE" in capsys.readouterr().err


def test_drop_gives_up_all_that_it_left_but_says_so_first(run: Run, folder: Path) -> None:
    what = "7 undelivered events and 2 dead letters of oncall, which is not in the configuration,"
    code, text = run("spool", "drop", "--sink", "oncall")
    assert (code, f"{what} would be given up for good; say --yes to do it" in text) == (64, True)
    assert left_in(folder / "spool.db", ["audit", "pager"])
    assert run("spool", "drop", "--sink", "oncall", "--yes") == (0, f"{what} given up\n")
    assert left_in(folder / "spool.db", ["audit", "pager"]) == ()
    with opened(folder / "spool.db") as look:
        assert look.sinks() == {"audit"}
