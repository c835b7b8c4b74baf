"""Sinks that ask and emit, on real nodes: the server gives events back as the daemon knows them again."""

import pytest

from .daemon import JsonLines
from .waiting import until

pytestmark = pytest.mark.real

PLUGIN = '''
"""Answers each event into its own room."""
from tdbwatch.plugin import hookimpl

ARGS = [
    1, -5, 1 << 40, 2.5, True, None, "t\\u00e9xt", b"\\x00\\xff", [1, [2]], {"b": 1, "a": {"d": [], "c": 2}},
]

@hookimpl
async def tdbwatch_event(event, context):
    if event.room.startswith("query"):
        assert await context.client.query("a + b;", a=20, b=22) == 42
        return
    room = event.room_id if event.room == "by-id" else event.room
    await context.client.emit(room, event.event, *ARGS)
'''


async def test_a_sink_that_answers_itself_ends_after_eight_rounds_whatever_it_emits(
    daemon, watcher, emitter, new_room, tmp_path
):
    plugins = tmp_path / "plugins.d"
    plugins.mkdir(mode=0o755)
    (plugins / "echo.py").write_text(PLUGIN)
    by_name, by_id = await new_room(watcher), await new_room(watcher)
    asks = await new_room(watcher)
    running = daemon(
        {"scope": by_name.scope},
        rooms=[by_name.name, {"id": by_id.id, "as": "by-id"}, {"name": asks.name, "as": "query"}],
        sinks={
            "journal": {"type": "file", "path": str(tmp_path / "journal.jsonl")},
            "echo": {"timeout": "20s"},
        },
        plugins={"paths": [str(plugins)]},
    )
    await running.start()
    journal = JsonLines(tmp_path / "journal.jsonl")
    for room in (by_name, by_id, asks):
        await emitter.emit(room.id, "begin", scope=room.scope, timeout=20)

    def hops(room):
        return [record.get("hops", 0) for record in journal.of_kind("event") if record["room"] == room]

    for room in (by_name.name, "by-id"):
        await until(lambda room=room: len(hops(room)) >= 9, f"the echoes of {room}")
    await until(lambda: running.text().count("8 emits of sinks already") >= 2, "the end of both loops")
    assert await running.stop() == 0
    journal.read()
    assert hops(by_name.name) == hops("by-id") == list(range(9))
    assert hops("query") == [0]
