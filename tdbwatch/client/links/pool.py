"""Which node to connect to next. Pure: it is told the time and sleeps for nobody."""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tdbwatch.backoff import Backoff, BackoffPolicy
from tdbwatch.client.addresses import Address
from tdbwatch.exceptions import AuthError, RequestTimeoutError, ThingsDBError
from tdbwatch.loggers import is_worth_saying

NODE_BACKOFF: Final = BackoffPolicy(initial=0.5, factor=2.0, maximum=30.0, jitter=0.5)
LEAVING_FOR: Final = 30.0
"""Seconds for which a node that announced its shutdown is asked last: it takes a while to come back."""
QUIET: Final = 10.0
"""Seconds before another reason why a node cannot be reached is said."""
STABLE_AFTER: Final = 10.0
"""Seconds that a link must have lived before its node's failures are forgotten."""
REFUSED_FOR: Final = 0.5
"""Seconds for which a node must refuse the login to be believed; it is asked again within twice that."""

NEVER: Final = float("inf")


class Outcome(Enum):
    """What came of the last attempt to use a node."""

    UNTRIED = auto()
    CONNECTED = auto()
    REFUSED = auto()
    """It refused the login. A node that just joins its cluster does so for seconds: it knows no users yet."""
    NOT_READY = auto()
    """It answered, but otherwise: it may take the login later."""
    UNREACHABLE = auto()
    """There is no answer, or what answers is not ThingsDB."""
    LOST = auto()
    """Its link ended."""


_TROUBLE: Final = frozenset({Outcome.REFUSED, Outcome.NOT_READY, Outcome.UNREACHABLE, Outcome.LOST})


@dataclass(frozen=True, slots=True)
class Choice:
    """A node, and how many seconds to wait before it may be tried."""

    address: Address
    wait: float
    failures: int = 0
    """How often it failed in a row."""


@dataclass(slots=True)
class _Node:
    address: Address
    backoff: Backoff
    not_before: float = 0.0
    leaving_until: float = 0.0
    connected_at: float = NEVER
    failures: int = 0
    said: str = ""
    quiet_until: float = 0.0
    outcome: Outcome = Outcome.UNTRIED
    refusals: int = 0
    refused_since: float = NEVER
    refuses_surely: bool = False
    """It refused the login when no node was down."""
    reason: str = ""


class NodePool:
    """The nodes and their recent fortunes: a node that failed waits, each time longer, on its own account."""

    def __init__(
        self, addresses: Iterable[Address], rng: random.Random, policy: BackoffPolicy = NODE_BACKOFF
    ) -> None:
        self._rng = rng
        self._policy = policy
        self._longest = policy.maximum
        self._nodes: dict[Address, _Node] = {}
        self._former: dict[Address, _Node] = {}
        self.change(addresses)

    def change(self, addresses: Iterable[Address]) -> None:
        """From now on these are the nodes. Of others nothing is chosen; what becomes of their links is told.

        Raises:
            ValueError: there is none.
        """
        known = self._former | self._nodes
        nodes = {one: known.get(one) or _Node(one, Backoff(self._policy, self._rng)) for one in addresses}
        if not nodes:
            raise ValueError("the pool of nodes is empty; name at least one node")
        self._nodes = nodes
        self._former = {one: node for one, node in known.items() if one not in nodes}

    def _node(self, address: Address) -> _Node:
        return self._nodes.get(address) or self._former[address]

    def __len__(self) -> int:
        return len(self._nodes)

    def choose(self, now: float, in_use: Collection[Address] = ()) -> Choice | None:
        """The node to try next: at random among those that may be tried now, else the one due first.

        Nodes that are leaving come last: only if no other may be tried now. None if all nodes are in use.
        """
        free = [node for node in self._nodes.values() if node.address not in in_use]
        if not free:
            return None
        due = [node for node in free if node.not_before <= now]
        if due:
            node = self._rng.choice([node for node in due if node.leaving_until <= now] or due)
            return Choice(node.address, 0.0, node.backoff.attempts)
        first = min(free, key=lambda node: node.not_before)
        return Choice(first.address, first.not_before - now, first.backoff.attempts)

    def troubled(self, now: float, in_use: Collection[Address]) -> Choice | None:
        """A node whose last attempt or link failed, that nobody uses and that may be tried now."""
        for node in self._nodes.values():
            if node.outcome in _TROUBLE and node.address not in in_use and node.not_before <= now:
                return Choice(node.address, 0.0, node.backoff.attempts)
        return None

    def begin_round(self) -> None:
        """From now on every node counts as untried."""
        for node in self._nodes.values():
            node.outcome, node.refuses_surely = Outcome.UNTRIED, False

    @property
    def all_tried(self) -> bool:
        """Whether every node was tried in this round."""
        return all(node.outcome is not Outcome.UNTRIED for node in self._nodes.values())

    @property
    def all_refuse(self) -> bool:
        """Whether every node that can be reached refuses the login, and there is one."""
        outcomes = {node.outcome for node in self._nodes.values()}
        return Outcome.REFUSED in outcomes and outcomes <= {Outcome.REFUSED, Outcome.UNREACHABLE}

    @property
    def each_refuses(self) -> bool:
        """Whether every node is there and refuses the login, so waiting changes nothing.

        While a node is down, another one that waits for it to join the cluster refuses whom it will take.
        So what was refused before the last node was reached does not count: it is asked once more.
        """
        return all(node.refuses_surely for node in self._nodes.values())

    def reasons(self) -> str:
        """Why the nodes could not be used when they were tried last."""
        failed = [node for node in self._nodes.values() if node.reason]
        return "; ".join(
            node.reason if str(node.address) in node.reason else f"{node.address}: {node.reason}"
            for node in failed
        )

    def failed(
        self, address: Address, now: float, outcome: Outcome, reason: str, ways: int = 1
    ) -> tuple[Outcome, float]:
        """The node could not be reached or used.

        Args:
            ways: how many addresses its name has. It refuses when each has; until then the next is tried.

        Returns:
            What that means for the node, and the seconds until it may be tried again.
        """
        node = self._node(address)
        wait = node.backoff.next()
        if outcome is not Outcome.REFUSED:
            node.refusals = 0
        elif (sooner := self._ask_again(node, now, ways)) is not None:
            outcome, wait = Outcome.NOT_READY, sooner
        if Outcome.UNREACHABLE in {
            node.outcome,
            outcome,
        }:  # it is down, or was: others may have waited for it
            for one in self._nodes.values():
                one.refuses_surely = False
        node.outcome, node.reason, node.refuses_surely = outcome, reason, outcome is Outcome.REFUSED
        if self.each_refuses:
            wait = self._longest
        node.not_before = now + wait
        return outcome, wait

    def _ask_again(self, node: _Node, now: float, ways: int) -> float | None:
        """Whether to believe a refusal: None, or the seconds until it should be heard once more.

        A token or user that was made on another node a moment ago is not known everywhere yet.
        """
        if not node.refusals and node.outcome is not Outcome.REFUSED:
            node.refused_since = now
        node.refusals += 1
        if node.refusals < ways:
            return 0.0
        if now - node.refused_since < REFUSED_FOR:
            return REFUSED_FOR * self._rng.uniform(1.0, 2.0)
        node.refusals = 0
        return None

    def complaint(self, address: Address, reason: str, now: float) -> int:
        """The node could not be reached for this reason, so many times in a row; 0: need not be said again.

        The times 1, 2, 4, 8, ... are, and when it is for another reason than the last.
        """
        node = self._node(address)
        node.failures += 1
        another = reason != node.said and now >= node.quiet_until
        if not (is_worth_saying(node.failures) or another):
            return 0
        node.said, node.quiet_until = reason, now + QUIET
        return node.failures

    def connected(self, address: Address, now: float) -> None:
        """The node has a working link."""
        node = self._node(address)
        node.outcome, node.reason, node.failures, node.connected_at = Outcome.CONNECTED, "", 0, now
        node.refuses_surely = False

    def recovered(self, address: Address) -> None:
        """The node takes the login again. No link to it has lived yet, so it waits as before if it fails."""
        node = self._node(address)
        node.outcome, node.reason, node.failures, node.refuses_surely = Outcome.CONNECTED, "", 0, False

    def lost(self, address: Address, now: float) -> None:
        """The node's link ended. One that lived for a while may be made anew at once, others must wait."""
        node = self._node(address)
        if now - node.connected_at >= STABLE_AFTER:
            node.backoff.reset()
        node.outcome = Outcome.LOST
        node.connected_at = NEVER  # a next link may be lost before it is of use, and must not count as stable
        node.not_before = now + node.backoff.next()

    def leaving(self, address: Address, now: float) -> None:
        """The node announced its shutdown."""
        self._node(address).leaving_until = now + LEAVING_FOR


def outcome_of(error: Exception) -> Outcome:
    """What an attempt that failed says of its node."""
    if isinstance(error, AuthError):
        return Outcome.REFUSED
    answered = isinstance(error, ThingsDBError) and not isinstance(error, RequestTimeoutError)
    return Outcome.NOT_READY if answered else Outcome.UNREACHABLE
