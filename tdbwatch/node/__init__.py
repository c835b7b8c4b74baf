"""The embedded node: the server role over the same wire, for the demo, for tests and for plugin authors.

It is no database: it keeps rooms, passes on events as real nodes do, down to the order of pushes and
answers, and answers the queries and procedures that were registered with it.
"""

from tdbwatch.node.cluster import Cluster, Executed
from tdbwatch.node.faults import Faults
from tdbwatch.node.node import Node

__all__ = ["Cluster", "Executed", "Faults", "Node"]
