"""What the client wants to hear: subscriptions are desired state, joined on every link that comes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from tdbwatch.client.merging.merge import Merge
from tdbwatch.client.rooms.hearing import Hearing
from tdbwatch.client.words import words
from tdbwatch.exceptions import LookupError as RoomLookupError
from tdbwatch.exceptions import NodeError
from tdbwatch.loggers import get_logger
from tdbwatch.wire.names import is_room_name
from tdbwatch.wire.scopes import canonical, collection_of, short

if TYPE_CHECKING:
    from tdbwatch.client.links.link import Link

log = get_logger("tdbwatch.client")

RoomKey = tuple[str, int]
"""A room's scope, as the server pushes it, and its id: ids are per collection."""


class RoomStatus(StrEnum):
    """Where a subscription stands."""

    WAITING = "waiting"
    """No link has tried to join it yet, or the last one that had it is gone."""
    JOINED = "joined"
    MISSING = "missing"
    """There is no such room, or no such collection."""
    REFUSED = "refused"
    """The server does not let us, or not now; or the code that should return its id failed."""
    DELETED = "deleted"


class RoomListener(Protocol):
    """Who is told what becomes of a subscription, and gets its events."""

    def deliver(self, emit: Any) -> None: ...

    def room_joined(self, room_id: int) -> None: ...

    def room_deleted(self) -> None:
        """It is gone. Unless the listener gives the subscription up, it is joined once it is made again."""
        ...

    def room_unjoinable(self, error: Exception) -> None:
        """It cannot be joined now. Unless the listener gives the subscription up, it is tried again."""
        ...

    def room_unheard(self, reason: str, since: float) -> None:
        """No link hears it any more, or none that hears all; `since` is in monotonic seconds.

        It may also be found out late that none did for a while: `room_heard` follows at once then.
        """
        ...

    def room_heard(self) -> None:
        """A link hears it, or hears it again, or another link took over from the one that did."""
        ...


@dataclass(eq=False, slots=True)
class Subscription:
    """A room that the client wants to hear: by id, by name, or by code that returns an id."""

    key: int | str
    scope: str
    listener: RoomListener
    status: RoomStatus = RoomStatus.WAITING
    reason: str = ""
    id: int | None = None
    links: "dict[Link, int]" = field(default_factory=dict)
    """The links that hear it, and its id there."""
    heard: bool = False
    """Whether a link hears all of it: one whose node shuts down hears no other node's emits any more."""
    hearing: Hearing = field(default_factory=Hearing)
    """Which links heard all of it, and when."""
    merge: Merge | None = None
    """Makes one stream of what several links deliver; None while only one link does."""
    counts: tuple[int, int] = (0, 0)
    """Doubled and uncertain events of merges that have ended."""
    each_link: "Callable[[Link, Any], None] | None" = None
    """Gets the events of every link by itself, not merged, for those who want to know who hears."""
    ended: bool = False
    """Nobody wants it any more; an answer that still comes must not bring it back."""
    error: Exception | None = None
    """Why it could not be joined last; None once it is."""
    given_scope: str = field(init=False, default="")
    """The scope as it was asked for; `scope` follows the collection when it is renamed."""
    _complaint: tuple[RoomStatus, str] | None = field(init=False, default=None)
    """What was said of it last, since it could not be joined; None: it was joined since."""

    def __post_init__(self) -> None:
        self.given_scope = self.scope

    @property
    def is_code(self) -> bool:
        """Whether the key is code: whatever is no id and could not be a room's name."""
        return isinstance(self.key, str) and not is_room_name(self.key)

    @property
    def collection(self) -> str:
        """The scope as the server pushes it."""
        return canonical(self.scope)

    @property
    def is_followed(self) -> bool:
        """Whether its collection was renamed since it was asked for by its name."""
        asked = canonical(self.given_scope)
        return self.collection != asked and not (collection_of(asked) or "").isdigit()

    @property
    def doubled(self) -> int:
        """Events that another link had delivered before, and that were rightly left out, since the start."""
        return self.counts[0] + (self.merge.doubled if self.merge is not None else 0)

    @property
    def uncertain(self) -> int:
        """Guesses about those, since the start; each may have doubled one event (`Merge.uncertain`)."""
        return self.counts[1] + (self.merge.uncertain if self.merge is not None else 0)

    def end_merge(self) -> None:
        """Only one link is left that hears it."""
        self.counts, self.merge = (self.doubled, self.uncertain), None

    def __str__(self) -> str:
        key = f"by code {str(self.key).strip()[:40]!r}" if self.is_code else self.key
        return f"room {key} in {short(self.scope)}"

    def joined(self, link: "Link", room_id: int) -> None:
        """A link hears it now."""
        anew = self.status is not RoomStatus.JOINED
        if self.id not in {None, room_id}:
            log.warning("%s was made anew: its id is %d now, no longer %d", self, room_id, self.id)
            anew = True
        self.status, self.reason, self.error, self.id = RoomStatus.JOINED, "", None, room_id
        self._complaint = None
        self.links[link] = room_id
        if anew:
            self._tell(self.listener.room_joined, room_id)
        if not link.leaving:
            self.hearing.begins(link, link.heard_at)
            self._hear_again(link.heard_at)

    def taken_over(self) -> None:
        """The link of before was let go of, for one that hears it too."""
        if self.heard:
            self._tell(self.listener.room_heard)

    def unjoinable(self, error: Exception) -> None:
        """A link could not join it. A room that was there before and is missing now was deleted."""
        if self.links:
            return
        self.error = error
        missing = isinstance(error, RoomLookupError)
        if missing and self.id is not None:
            self.deleted(words(error))
            return
        before = self._complaint
        self.status, self.reason = RoomStatus.MISSING if missing else RoomStatus.REFUSED, words(error)
        # links differ in the node that is not ready, and take turns in saying so
        self._complaint = self.status, "" if isinstance(error, NodeError) else self.reason
        self._tell(self.listener.room_unjoinable, error)
        if not self.ended and before != self._complaint:
            log.warning("%s cannot be joined, will be tried again: %s", self, error)

    def deleted(self, reason: str) -> None:
        """It is gone from the database."""
        if self.status is RoomStatus.DELETED:
            return
        log.warning("%s was deleted: %s", self, reason)
        self.status, self.reason, self.id = RoomStatus.DELETED, reason, None
        self._tell(self.listener.room_deleted)

    def unheard(self, link: "Link", reason: str) -> None:
        """A link that heard it is gone."""
        if self.links.pop(link, None) is None:
            return
        if not self.links and self.status is RoomStatus.JOINED:
            self.status, self.reason = RoomStatus.WAITING, reason
        self.deafened(link, reason)

    def deafened(self, link: "Link", reason: str) -> None:
        """A link hears it no more, or not all of it; what came last from that link is the last we know of."""
        since = self.hearing.ends(link, link.heard_until)
        if since is not None and self.heard:
            self.heard = False
            self._tell(self.listener.room_unheard, reason, since)
            if self.hearing:  # it was missed before, by links that seemed to live; now it is heard
                self._hear_again(link.now())

    def _hear_again(self, now: float) -> None:
        if not self.heard:
            self.heard = True
            self.hearing.resumes(now)
            self._tell(self.listener.room_heard)

    def renamed(self, scope: str) -> None:
        """Its collection is called otherwise now."""
        self.scope = scope

    def displaced(self, room_id: int, reason: str, now: float) -> None:
        """The name of its collection may mean another one now."""
        if self.id != room_id:
            return  # another link found it out
        self.asked_for_again()
        self.status, self.reason = RoomStatus.MISSING, reason
        self.id = None  # the other one's ids are its own
        if self.heard:  # by another link, of which the same is true
            self.heard = False
            self._tell(self.listener.room_unheard, reason, now)

    def asked_for_again(self) -> bool:
        """Go back to the scope that was asked for, since the collection's later name leads nowhere."""
        changed = self.scope != self.given_scope
        self.scope = self.given_scope
        return changed

    def _tell(self, hear: Callable[..., None], *args: Any) -> None:
        """One listener's mistake must not reach the link, whose other rooms have done nothing wrong."""
        try:
            hear(*args)
        except Exception:
            log.exception("%s: its listener raised", self)
