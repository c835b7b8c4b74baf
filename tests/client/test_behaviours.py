"""The table of behaviours, on the embedded node. `behaviours/README.md` says what it is."""

import asyncio
import os

import pytest

from tests.forked import Forker

from .behaviours.embedded import World
from .behaviours.program import end_of, seen, source
from .behaviours.table import NEVER_ENDS, behaviours, differences, switch

TABLE = behaviours()


@pytest.fixture(scope="module")
def forker():
    """Programs need the connector, and no daemon."""
    made = Forker(["tdbwatch.compat.client", "tdbwatch.compat.room"])
    yield made
    made.close()


@pytest.mark.parametrize("entry", [entry for entry in TABLE if not entry.needs_thingsdb], ids=str)
async def test_the_embedded_node_shows(entry, cluster, forker):
    World(cluster)
    host, _, port = cluster.nodes[0].address.rpartition(":")
    program = [host, port, "admin", "pass"]
    async with asyncio.timeout(20):
        code, out, err = await forker.run(
            switch(source(entry)), program, {**os.environ, "PYTHONUNBUFFERED": "1"}
        )
    assert seen(out, end_of(code), err) == (entry.shows, "")


def test_every_claim_is_made_once():
    claims = [str(entry) for entry in TABLE]
    assert len(set(claims)) == len(claims)


def test_our_programs_end():
    assert [entry.claim for entry in TABLE if NEVER_ENDS in entry.shows] == []


@pytest.mark.parametrize("entry", [entry for entry in TABLE if entry.differs], ids=str)
def test_what_differs_is_in_the_documentation(entry):
    assert entry.differs in differences()
