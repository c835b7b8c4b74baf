"""The pool of nodes: which is tried next, and what is said of those that cannot be reached."""

import random

from tdbwatch.client.addresses import parse_address
from tdbwatch.client.links.pool import NodePool

NODE = parse_address("node01")


def test_why_a_node_cannot_be_reached_is_said_ever_more_rarely_but_another_reason_at_once() -> None:
    pool = NodePool([NODE], random.Random(1))
    said = [pool.complaint(NODE, "refused", now * 30) for now in range(9)]
    assert said == [1, 2, 0, 4, 0, 0, 0, 8, 0]
    assert pool.complaint(NODE, "the password was changed", 300) == 10
    assert pool.complaint(NODE, "refused", 301) == 0, "reasons that alternate are not said to death"
    assert pool.complaint(NODE, "refused", 311) == 12
    pool.connected(NODE, 400)
    assert pool.complaint(NODE, "refused", 401) == 1
