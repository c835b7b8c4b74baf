"""A spool that is copied, restored and moved: what tdbwatch knows goes with the one file."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tdbwatch.node import Cluster

Lines = Callable[[str], list[dict[str, Any]]]


def gaps(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == "gap"]


async def test_a_backup_made_beside_the_daemon_and_restored_elsewhere_has_all_events_and_the_gap(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, tmp_path: Path
) -> None:
    sinks = {
        "audit": {"type": "file", "path": str(tmp_path / "out" / "{room}.jsonl")},
        "oncall": {"type": "webhook", "url": "http://127.0.0.1:9/"},  # where nobody listens
    }
    config = write_config(sinks=sinks)
    command = await start("--config", config)
    await command.ready()
    for number in range(20):
        cluster.emit("//stuff", "alerts", "counted", number)
    await until(lambda: len(lines("alerts.jsonl")) == 20, "the events")
    made_at = datetime.now().astimezone()
    copying = await start("spool", "backup", "copy.db", "--config", config)
    assert await copying.exit_code() == 0, copying.text
    cluster.emit("//stuff", "alerts", "counted", 20)
    await until(lambda: len(lines("alerts.jsonl")) == 21, "the event after the copy")
    assert await command.stop() == 0
    stopped_at = datetime.now().astimezone()

    host = tmp_path / "another-host"
    host.mkdir()
    shutil.copyfile(tmp_path / "copy.db", host / "spool.db")
    (host / "spool.db").chmod(0o644)  # as cp and the usual umask leave it
    sinks["oncall"] = {"type": "file", "path": str(tmp_path / "out" / "oncall-{room}.jsonl")}
    moved = write_config("moved.yaml", sinks=sinks, spool={"path": str(host / "spool.db")})
    again = await start("--config", moved)
    await again.ready()
    assert again.said("spool.tightened")
    await until(lambda: gaps(lines("oncall-alerts.jsonl")), "the gap")
    assert await again.stop() == 0
    got = [record["args"][0] for record in lines("oncall-alerts.jsonl") if record["kind"] == "event"]
    assert got == list(range(20)), "what the sink that was down had not got comes out of the copy"
    (gap,) = gaps(lines("oncall-alerts.jsonl"))
    since = datetime.fromisoformat(gap["since"])
    assert since < stopped_at
    assert abs((since - made_at).total_seconds()) < 60, "the gap begins when the copy was made"
    assert (host / "spool.db").stat().st_mode & 0o777 == 0o600


async def test_a_spool_that_is_moved_as_one_file_keeps_the_gap_of_its_downtime(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Lines, tmp_path: Path
) -> None:
    command = await start("--config", write_config())
    await command.ready()
    assert await command.stop() == 0
    stopped_at = datetime.now().astimezone()
    assert not list(tmp_path.glob("spool.db-*")), "after a stop all is in the one file"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool.db").rename(tmp_path / "elsewhere" / "spool.db")
    config = write_config("moved.yaml", spool={"path": str(tmp_path / "elsewhere" / "spool.db")})
    assert json.loads(config.read_text())["rooms"]
    command = await start("--config", config)
    await until(lambda: gaps(lines("alerts.jsonl")) and gaps(lines("deploys.jsonl")), "the gaps")
    assert await command.stop() == 0
    (gap,) = gaps(lines("alerts.jsonl"))
    assert gap["reason"] == "tdbwatch was not running"
    assert datetime.fromisoformat(gap["since"]) <= stopped_at < datetime.fromisoformat(gap["until"])
