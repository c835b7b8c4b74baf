"""`tdbwatch rooms` on real nodes."""

import asyncio
import json

import pytest

from tdbwatch.cli import app
from tdbwatch.cli.rooms.room_list import Collection, collections, rooms

pytestmark = pytest.mark.real


async def test_rooms_are_found_by_those_who_may_see_all_and_by_those_who_may_see_one_collection(
    watcher, new_room, scopes, target
):
    await watcher.query(
        "range(0, 30).each(|i| .set(`thing{i}`, {})); .nameless = room(); nil;", scope=scopes[0]
    )
    room = await new_room(watcher)
    there = {one.scope: one for one in await collections(watcher, [])}
    assert set(scopes) <= there.keys()
    for collection in (there[scopes[0]], Collection(scopes[0])):
        found = [one async for one in rooms(watcher, collection)]
        assert (room.name, room.id) in [(one.name, one.id) for one in found]
        assert None in [one.name for one in found]


async def test_a_user_who_may_query_one_collection_only_learns_of_its_rooms(
    watcher, new_room, scopes, target, tmp_path, capsys
):
    name = f"looker_{scopes[0].removeprefix('//')}"
    room = await new_room(watcher)
    token = await watcher.query(
        f"new_user('{name}'); grant('{scopes[0]}', '{name}', QUERY); new_token('{name}');", scope="@t"
    )
    (tmp_path / "token").write_text(token)
    words = [
        "rooms",
        "--node",
        watcher.connection_info().rpartition("@")[2],
        "--token-file",
        str(tmp_path / "token"),
        "--scope",
        scopes[0],
    ]
    try:
        assert await asyncio.to_thread(app.main, words) == 0
    finally:
        await watcher.query(f"del_user('{name}');", scope="@t")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"scope": scopes[0], "room": room.name, "id": room.id} in lines
