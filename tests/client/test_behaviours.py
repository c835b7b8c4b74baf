"""The table of behaviours, on the embedded node. `behaviours/README.md` says what it is."""

import pytest

from .behaviours.embedded import World
from .behaviours.program import run, source
from .behaviours.table import NEVER_ENDS, behaviours, differences, switch

TABLE = behaviours()


@pytest.mark.parametrize("entry", [entry for entry in TABLE if not entry.needs_thingsdb], ids=str)
async def test_the_embedded_node_shows(entry, cluster):
    World(cluster)
    observed = await run(switch(source(entry)), cluster.nodes[0].address, ("admin", "pass"), limit=20)
    assert observed == (entry.shows, "")


def test_every_claim_is_made_once():
    claims = [str(entry) for entry in TABLE]
    assert len(set(claims)) == len(claims)


def test_our_programs_end():
    assert [entry.claim for entry in TABLE if NEVER_ENDS in entry.shows] == []


@pytest.mark.parametrize("entry", [entry for entry in TABLE if entry.differs], ids=str)
def test_what_differs_is_in_the_documentation(entry):
    assert entry.differs in differences()
