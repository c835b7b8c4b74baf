"""`tdbwatch spool stats`, for people and for programs."""

import asyncio
import re
from pathlib import Path

import pytest

from tdbwatch.cli.app import build_parser
from tdbwatch.daemon.spool.api import Behind
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.spool.stored.blocks import Lane

from .kit import CONFIG, Run, objects


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
    behind = {Lane("//stuff", "alerts"): Behind(4, ((6, 6), (8, 8)))}
    asyncio.run(_save(folder / "spool.db", "oncall", 9, behind))
    for place in (("--config", "prod.yaml"), ("--spool", "spool.db")):
        [found] = objects(run("spool", "stats", "--json", place=place)[1])
        for sink in found["sinks"]:
            listed = run("spool", "list", "--json", "--sink", sink["sink"], place=place)[1]
            assert sink["behind"] == len(objects(listed)) > 0


def test_stats_for_people(run: Run) -> None:
    code, out, _ = run("spool", "stats")
    assert code == 0
    assert "no daemon uses it\n10 entries, received " in out
    assert "\n".join(out.splitlines()[-4:]) == (
        "sink    behind  dead letters\naudit        3             0\noncall       4             3\n"
        "4 events that no route takes: no sink gets them; `spool list --unrouted` shows them"
    )
    assert "no route" not in run("spool", "stats", place=("--spool", "spool.db"))[1]


async def _save(path: Path, sink: str, floor: int, behind: dict[Lane, Behind]) -> None:
    spool = SqliteSpool(path)
    await spool.open()
    spool.save(sink, floor, behind)
    await spool.close()


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


def test_a_configured_sink_is_known_before_the_spool_has_heard_of_it(run: Run, folder: Path) -> None:
    (folder / "prod.yaml").write_text(CONFIG.replace("{audit:", "{fresh: {type: log}, audit:"))
    assert run("spool", "list", "--sink", "fresh", "--dead")[:2] == (0, "")
    assert run("spool", "drop", "--sink", "fresh")[:2] == (0, "no dead letter matches\n")


def test_the_help_of_stats_explains_every_column(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    head = run("spool", "stats")[1].splitlines()[-4]
    columns = [name for name in re.split(r"\s{2,}", head) if name != "sink"]
    assert columns == ["behind", "dead letters"]
    with pytest.raises(SystemExit):
        build_parser().parse_args(["spool", "stats", "--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"^{name} +\w", text, re.MULTILINE) for name in ("entries", *columns))
