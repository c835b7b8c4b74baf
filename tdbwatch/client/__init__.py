"""The connector: an asyncio client for ThingsDB.

`Client` is the face. Behind it a `Keeper` keeps a `Link` (one live connection) alive, choosing nodes from
the `NodePool`; a `Joiner` makes each link hear every `Subscription`; a `Call` is one request on its way.
"""

from tdbwatch.client.client import Client
from tdbwatch.client.fail_file import set_package_fail_file
from tdbwatch.client.links.heartbeat import Heartbeat
from tdbwatch.client.links.observer import Observer

__all__ = ["Client", "Heartbeat", "Observer", "set_package_fail_file"]
