"""What the event loop knows: what sinks have finished, and, by what the writer says, the log."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tdbwatch.daemon.spool.alarms import Alarms
from tdbwatch.daemon.spool.api import Progress
from tdbwatch.daemon.spool.drop_reports import DropReports
from tdbwatch.daemon.spool.errors import SpoolError
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.group import TurnReport
from tdbwatch.daemon.spool.inbox import Inbox
from tdbwatch.daemon.spool.reader import Reader
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.spool.stored.progress import Change, apply
from tdbwatch.daemon.spool.stored.store import Store
from tdbwatch.daemon.spool.survival.watch import FileWatch


class Sinks:
    """What sinks have finished, as it was saved last; the writer may not have written all of it yet.

    Args:
        names: those of the configuration; None: all that ever were.

    Attributes:
        interrupted: whether the last deliveries of the process before may have begun and never ended.
    """

    def __init__(self, names: Collection[str] | None) -> None:
        self.names = names
        self.interrupted = False
        self._start = 0
        self._progress: dict[str, Progress] = {}

    def begin(self, store: Store) -> list[tuple[str, Change]]:
        """Go on from what is in the file; those that begin with it."""
        self._start = 0 if store.fresh else store.last_seq
        self._progress = {sink: _copy(one) for sink, one in store.progress.items()}
        begun = [(sink, self.begun(sink)) for sink in self.names or ()]
        found = [(sink, change) for sink, change in begun if change is not None]
        store.progress |= {sink: Progress(change.floor) for sink, change in found}
        return found

    def begun(self, sink: str) -> Change | None:
        """Where a new sink begins; None: it has begun already."""
        if sink in self._progress:
            return None
        self._progress[sink] = Progress(self._start)
        return Change(self._start)

    def change(
        self, names: Collection[str], left: Mapping[str, Progress | None], last_seq: int
    ) -> Iterator[tuple[str, Change]]:
        """From now on these are the sinks of the configuration; yields those that begin with it.

        Args:
            left: of those that were none of them, what is in the file; None: they begin at `last_seq`.
        """
        self.names, self._start = names, last_seq
        for sink, known in left.items():
            if known is not None:  # what was saved last may not be written yet
                self._progress.setdefault(sink, Progress(known.floor, known.behind))
                continue
            forgotten = self._progress.pop(sink, Progress(0)).behind
            self._progress[sink] = Progress(last_seq)
            yield sink, Change(last_seq, dict.fromkeys(forgotten))

    def progress(self, sink: str) -> Progress:
        return _copy(self._progress[sink])

    def changed(self, sink: str, change: Change) -> None:
        apply(self._progress, {sink: change})


def _copy(progress: Progress) -> Progress:
    return replace(progress, behind=dict(progress.behind))


class LogState:
    """What is known, as of the writer's last turn.

    Attributes:
        closing: whether nobody may ask for more: it is about to be closed, or not open yet.
        turned: set and cleared after each turn of the writer.
        failed: ends with an exception when the writer died.
        stopped: ends with the writer's thread.
    """

    def __init__(
        self, reader: Reader, inbox: Inbox, files: FileWatch, alarms: Alarms, drops: DropReports
    ) -> None:
        self.first_seq, self.last_seq, self.entries = 1, 0, 0
        self.closing = True
        self._reader = reader
        self._inbox = inbox
        self._files = files
        self._alarms = alarms
        self._drops = drops

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self.closing = False
        self.turned = asyncio.Event()
        self.failed: asyncio.Future[None] = loop.create_future()
        self.stopped: asyncio.Future[None] = loop.create_future()

    def tell(self, report: TurnReport) -> None:
        """Hand the report to the event loop. The only method that other threads may call."""
        try:
            self.stopped.get_loop().call_soon_threadsafe(self._turned, report)
        except RuntimeError:  # the loop is gone, and with it everyone who could want to know
            return

    def damaged(self, report: DamageReport) -> None:
        """A damaged file was replaced."""
        self._reader.forget()
        self._alarms.damaged(report)
        # In the next turn, since listeners may append what they have to say only then.
        asyncio.get_running_loop().call_soon(self._inbox.put_damage_told)

    def _turned(self, report: TurnReport) -> None:
        self._alarm(report)
        if report.extent is not None:
            self.first_seq, self.entries = report.extent
        if report.blocks:
            self._grown(report.blocks)
        if report.gone:
            self._reader.gone(report.gone)
        self.turned.set()
        self.turned.clear()
        _answer(report.waiters, None)
        for copied, done in report.copied:
            _answer((copied,), done)
        if report.ended:
            self._ended(report)
        else:
            _fail(report.abandoned, SpoolError(f"the disk did not take it: {self._alarms.trouble}"))

    def _grown(self, blocks: Sequence[Block]) -> None:
        self._reader.window.extend(blocks)
        self._drops.traffic.written(sum([block.count for block in blocks]))
        self.last_seq = blocks[-1].last_seq
        self._files.heard(self.last_seq)

    def _alarm(self, report: TurnReport) -> None:
        alarms = self._alarms
        if report.trouble is not None:
            alarms.disk(report.trouble)
        if report.refuses is not None:
            alarms.refuses(report.refuses)
        if report.log_bytes is not None:
            alarms.log_grows(report.log_bytes)
        if report.damage is not None:
            self.damaged(report.damage)
        if report.lost_letters:
            alarms.letters_dropped(report.lost_letters)
        if report.catching_up is not None:
            alarms.catching_up = report.catching_up
        for tally in report.drops:
            self._drops.add(tally)
        self._drops.look()

    def _ended(self, report: TurnReport) -> None:
        """The writer's thread has ended."""
        self._drops.end(counted=not report.uncounted)
        if report.failed is not None:
            error = SpoolError(self._alarms.writer_died(report.failed))
            _fail((*report.abandoned, *self._inbox.abandon()), error)
            self.failed.set_exception(error)
            self.failed.exception()  # no warning where nobody watches
        if not self.stopped.done():
            self.stopped.set_result(None)


def _answer(waiters: Iterable["asyncio.Future[Any]"], result: Any) -> None:
    """End these waits."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(result)


def _fail(waiters: Iterable["asyncio.Future[Any]"], error: SpoolError) -> None:
    """End these waits in vain."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)
