"""The table of behaviours on a real node: each program with tdbwatch, and with python-thingsdb itself."""

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

import pytest

from tests.client.behaviours.program import Observed, run, source
from tests.client.behaviours.table import NEVER_ENDS, Behaviour, behaviours, switch

from .cluster import RealCluster, ask

pytestmark = pytest.mark.real

WORLD = """
    collections_info().each(|c| del_collection(c.load().name));
    users_info().each(|u| u.load().name != "admin" && del_user(u.load().name));
    modules_info().each(|m| del_module(m.load().name));
    new_collection("stuff");
"""
BACKUPS = "backups_info().each(|b| del_backup(b.load().id, true));"
STUFF = """
    .n = 0;
    .chat = room();
    .chat.set_name("chat");
    new_procedure("add", |a, b| a + b);
"""


@pytest.fixture
def world(lone: RealCluster) -> Callable[[str, float], Awaitable[Observed]]:
    """Run a program in a world where nothing happened yet."""

    async def world(text: str, limit: float) -> Observed:
        address = lone.nodes[0].address
        await ask(address, lone.auth, BACKUPS, "@n")
        await ask(address, lone.auth, WORLD, "@t")
        await ask(address, lone.auth, STUFF, "//stuff")
        return await run(text, address, lone.auth, limit)

    return world


@pytest.mark.parametrize("entry", behaviours(), ids=str)
async def test_on_thingsdb_it_shows_what_the_table_says(entry: Behaviour, world: Any) -> None:
    observed = await world(switch(source(entry)), 30)
    assert observed == (entry.shows, "")


@pytest.mark.skipif(find_spec("thingsdb") is None, reason="python-thingsdb is not installed")
@pytest.mark.parametrize("entry", behaviours(), ids=str)
async def test_python_thingsdb_shows_what_the_table_says(entry: Behaviour, world: Any) -> None:
    limit = 5 if entry.theirs.endswith(NEVER_ENDS) else 30
    assert (await world(source(entry), limit)).shows == entry.theirs
