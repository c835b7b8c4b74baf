"""What the event loop knows: what sinks have finished, and, by what the writer says, the log."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tdbwatch.daemon.spool.alarms import Alarms, DropReports
from tdbwatch.daemon.spool.api import Gone, Progress
from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.reader import Reader
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.spool.stored.notes import DamageTold, Note, Waiter
from tdbwatch.daemon.spool.stored.progress import Change, Configured
from tdbwatch.daemon.spool.stored.store import Store

_SPAN: Final = 1.0
"""Seconds over which rates are measured, at least."""
_LEAST: Final = 1e-3
Said = tuple[Callable[..., None], tuple[Any, ...]]
"""What the event loop is to call, and with what."""


class Sinks:
    """What sinks have finished, as it was saved last; the writer may not have written all of it yet.

    What changes is for the writer, too: it is returned as notes.

    Args:
        names: those of the configuration at the start; None: all that ever were.
    """

    def __init__(self, names: Collection[str] | None) -> None:
        self.names = names
        self._start = 0
        self._progress: dict[str, Progress] = {}

    def begin(self, store: Store) -> Iterator[Note]:
        """Go on from what is in the file; those of the configuration that begin with it."""
        self._start = 0 if store.fresh else store.last_seq
        self._progress = {sink: replace(one, behind=dict(one.behind)) for sink, one in store.progress.items()}
        for sink in self.names or ():
            for change in self.begun(sink):
                change.apply(store.progress)  # before anything is deleted
                yield change

    def begun(self, sink: str) -> Iterator[Change]:
        """Where a sink begins that is new."""
        if sink not in self._progress:
            yield self.change(Change(sink, self._start))

    def use(
        self, names: Collection[str], left: Mapping[str, Progress | None], last_seq: int
    ) -> Iterator[Note]:
        """From now on these are the sinks of the configuration.

        Args:
            left: of those that were none of them, what is in the file; None: they begin at `last_seq`.
        """
        self._start = last_seq
        for sink, known in left.items():
            if known is not None:  # what was saved last may not be written yet
                self._progress.setdefault(sink, Progress(known.floor, known.behind))
                continue
            forgotten = self._progress.pop(sink, Progress(0)).behind
            yield self.change(Change(sink, last_seq, dict.fromkeys(forgotten)))
        yield Configured(names)

    def progress(self, sink: str) -> Progress:
        return self._progress[sink]

    def change(self, change: Change) -> Change:
        """A sink has finished more."""
        change.apply(self._progress)
        return change


class Traffic:
    """How many events come in and how many the disk takes, over the last second or two.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._came = self._written = 0
        self._before = self._latest = (now(), 0, 0)

    def came(self, count: int) -> None:
        self._look()
        self._came += count

    def written(self, count: int) -> None:
        self._look()
        self._written += count

    def rates_in_words(self) -> str:
        """What `rates` says now."""
        came, written = self.rates()
        return f"{came:,} events a second came, {written:,} were written"

    def rates(self) -> tuple[int, int]:
        """Events that came and that were written, each second."""
        self._look()
        now, (since, came, written) = self._now(), self._before
        seconds = max(now - since, _LEAST)
        return round((self._came - came) / seconds), round((self._written - written) / seconds)

    def _look(self) -> None:
        """Begin a new span; after a time of which nothing is known the one before does not count."""
        now = self._now()
        if now >= self._latest[0] + _SPAN:
            here = (now, self._came, self._written)
            self._before, self._latest = (here if now >= self._latest[0] + 2 * _SPAN else self._latest), here


class LogState:
    """What is known, as of the writer's last turn.

    The writer says what it did by naming a method, of this or of what it is about, that the event loop is to
    call (`hear`).

    Attributes:
        closing: whether nobody may ask for more: it is about to be closed, or not open yet.
        turned: set and cleared after each turn of the writer that did something.
        failed: ends with an exception when the writer died.
        stopped: ends with the writer's thread.
    """

    def __init__(
        self, reader: Reader, inbox: Inbox, traffic: Traffic, alarms: Alarms, drops: DropReports
    ) -> None:
        self.first_seq, self.last_seq, self.entries = 1, 0, 0
        self.closing = True
        self.alarms = alarms
        self.drops = drops
        self._reader = reader
        self._inbox = inbox
        self.traffic = traffic

    def begin(self, store: Store) -> None:
        """Go on from what is in the file."""
        loop = asyncio.get_running_loop()
        self.first_seq, self.last_seq, self.entries = store.first_seq, store.last_seq, store.entries
        self.closing = False
        self.turned = asyncio.Event()
        self.failed: asyncio.Future[None] = loop.create_future()
        self.stopped: asyncio.Future[None] = loop.create_future()

    def hear(self, said: Sequence[Said]) -> None:
        """Hand to the event loop what it is to do. The only method that other threads may call."""
        try:
            self.stopped.get_loop().call_soon_threadsafe(self._turned, said)
        except RuntimeError:  # the loop is gone, and with it everyone who could want to know
            return

    def _turned(self, said: Sequence[Said]) -> None:
        for act, args in said:
            act(*args)
        if self.drops.gathered:
            self.drops.look()
        self.turned.set()
        self.turned.clear()

    # -- what the writer may say -------------------------------------------------------------------------

    def grown(self, blocks: Sequence[Block]) -> None:
        """There are new ones in the log."""
        count = sum([block.count for block in blocks])
        self._reader.window.extend(blocks)
        self.traffic.written(count)
        self.entries += count
        self.last_seq = blocks[-1].last_seq

    def gone(self, blocks: Sequence[Gone], first_seq: int) -> None:
        """These were deleted; the log begins with `first_seq`."""
        self.first_seq = first_seq
        self.entries -= sum([block.count for block in blocks])
        self._reader.gone(blocks)

    def damaged(self, report: DamageReport, first_seq: int, entries: int) -> None:
        """A damaged file was replaced; so much is in the new one."""
        self.first_seq, self.entries = first_seq, entries
        self._reader.forget()
        self.alarms.damaged(report)
        # In the next turn, since listeners may append what they have to say only then.
        asyncio.get_running_loop().call_soon(self._inbox.note, DamageTold())

    def refused(self, waiters: Iterable[Waiter]) -> None:
        """What these wait for is not durable, and will not be."""
        _fail(waiters, SpoolError(f"the disk did not take it: {self.alarms.trouble}"))

    def ended(self, failed: BaseException | None, waiters: Iterable[Waiter], counted: bool) -> None:
        """The writer's thread has ended.

        Args:
            failed: what it died of, with these who wait for it.
            counted: whether what was dropped is counted in the file.
        """
        self.drops.end(counted=counted)
        if failed is not None:
            error = SpoolError(self.alarms.writer_died(failed))
            _fail((*waiters, *self._inbox.abandon()), error)
            self.failed.set_exception(error)
            self.failed.exception()  # no warning where nobody watches
        if not self.stopped.done():
            self.stopped.set_result(None)


def answer(waiters: Iterable[Waiter], result: Any = None) -> None:
    """End these waits."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(result)


def _fail(waiters: Iterable[Waiter], error: SpoolError) -> None:
    """End these waits in vain."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)
