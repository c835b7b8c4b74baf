"""The statements in docs/operations.md do what the page says, and the rights are those that it lists."""

import re
import secrets
from functools import partial
from pathlib import Path

import pytest

from tdbwatch import exceptions
from tdbwatch.room import Room

from .cluster import knows_room
from .waiting import until

pytestmark = pytest.mark.real

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
BLOCKS = re.findall(r"```thingsdb\n(.*?)```", PAGE, re.DOTALL)
CODE = "room('alerts').id();"


def statements(containing):
    """The page's one block of statements with this text."""
    [found] = [block for block in BLOCKS if containing in block]
    return found


@pytest.fixture
async def operator(watcher, scopes):
    """Follow the page in a new collection, as an admin; answers what the last statement answers."""
    user, collection = f"user_{secrets.token_hex(4)}", f"rights_{secrets.token_hex(4)}"
    await watcher.query("new_collection(name);", scope="@t", name=collection)

    async def follow(containing, *, inside=False, then=""):
        text = statements(containing).replace("'tdbwatch'", f"'{user}'").replace("//stuff", f"//{collection}")
        text += then
        return await watcher.query(text, scope=f"//{collection}" if inside else "@t", timeout=30)

    follow.scope, follow.user = f"//{collection}", user
    yield follow
    await watcher.query("del_user(user); del_collection(name);", scope="@t", user=user, name=collection)


@pytest.fixture
async def let_in(operator, target):
    """The page's first step is done, and every node knows it: the new user's token."""
    token = await operator("new_user")
    for name in ("alerts", "canary"):
        room_id = await operator(f".{name} = room()", inside=True, then=f".{name}.id();")
        for node in target.nodes:
            known = partial(knows_room, node, target.auth, operator.scope, room_id)
            await until(known, f"room {name} to be known at {node}", 120)
    return token


async def heard(connect, token, key, scope):
    """Join as that user; the room's id."""
    room = Room(key, scope=scope)
    await room.join(await connect(auth=(token,)), wait=30)
    return room.id


async def test_join_is_enough_for_rooms_by_name_and_id_the_canary_and_emits(connect, operator, let_in):
    room_id = await heard(connect, let_in, "alerts", operator.scope)
    assert await heard(connect, let_in, room_id, operator.scope) == room_id
    assert await heard(connect, let_in, "canary", operator.scope) != room_id
    user = await connect(auth=(let_in,))
    await user.emit("alerts", "hello", scope=operator.scope)


async def test_rooms_by_code_need_query_too_and_the_error_says_so(connect, operator, let_in):
    user = await connect(auth=(let_in,))
    with pytest.raises(exceptions.ForbiddenError) as caught:
        await user.query(CODE, scope=operator.scope)
    assert caught.value.privilege == "QUERY"

    await operator("QUERY | JOIN")
    assert await user.query(CODE, scope=operator.scope) == await heard(
        connect, let_in, "alerts", operator.scope
    )
    with pytest.raises(exceptions.ForbiddenError) as caught:
        await user.query(".another = room(); .another.id();", scope=operator.scope)
    assert caught.value.privilege == "CHANGE"


async def test_a_whitelist_keeps_other_rooms_out_and_is_no_missing_privilege(
    connect, operator, let_in, watcher
):
    [statement] = re.findall(r"`(whitelist_add\(.*?\);)`", PAGE)
    await watcher.query(statement.replace("'tdbwatch'", f"'{operator.user}'"), scope="@t")
    await heard(connect, let_in, "alerts", operator.scope)

    async def is_forbidden():
        try:
            await heard(connect, let_in, "canary", operator.scope)
        except exceptions.ForbiddenError as error:
            return error.privilege is None

    await until(is_forbidden, "each node to know the whitelist")


async def test_a_token_is_replaced_and_who_is_connected_stays(connect, operator, let_in, watcher):
    user = await connect(auth=(let_in,))
    new, delete = statements("del_token").splitlines()
    named = new.replace("'tdbwatch'", f"'{operator.user}'")
    token = await watcher.query(named, scope="@t")
    await watcher.query(delete.replace("the old token", let_in), scope="@t")

    await user.emit("alerts", "still-here", scope=operator.scope)
    await heard(connect, token, "alerts", operator.scope)
    with pytest.raises(exceptions.AuthError):
        await connect(auth=(let_in,))
