"""The one owner of the spool's file: a thread that commits group after group.

Whatever arrives while a commit is under way goes into the next one, so the groups grow with the load. After
each commit the event loop hears of it once. Nothing here raises into the event loop: a disk that does not
take the group is tried again, a damaged file is moved aside and a new one begun.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from tdbwatch.clock import Clock
from tdbwatch.daemon.spool.api import Gone
from tdbwatch.daemon.spool.errors import UNREADABLE, is_damage, is_full, trusting_nothing
from tdbwatch.daemon.spool.inbox import Group, Inbox
from tdbwatch.daemon.spool.limits import Limits
from tdbwatch.daemon.spool.limits.upkeep import Upkeep
from tdbwatch.daemon.spool.state import LogState, Said, answer
from tdbwatch.daemon.spool.stored.beats import Beat
from tdbwatch.daemon.spool.stored.blocks import Block
from tdbwatch.daemon.spool.stored.drops import DISK_REFUSED, MAX_SIZE, Tally
from tdbwatch.daemon.spool.stored.history import Attempts
from tdbwatch.daemon.spool.stored.log import weight
from tdbwatch.daemon.spool.stored.notes import Flush, GoneError, Note
from tdbwatch.daemon.spool.stored.progress import Change
from tdbwatch.daemon.spool.stored.store import Copies, Store
from tdbwatch.daemon.spool.survival.watch import FileWatch

_RETRIES_AT_CLOSE: Final = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """How the writer waits, in seconds.

    Attributes:
        linger: for company, before events are committed.
        retry: between attempts to write to a disk that refuses.
        check: between looks at the file and its limits while nothing is written.
        drops: over which drops are gathered into one report.
    """

    linger: float = 0.002
    retry: float = 1.0
    check: float = 1.0
    drops: float = 1.0


class Writer:
    """Runs a `Store` in a thread of its own.

    Args:
        files: opens the store, and replaces it.
        log: hears, in the event loop, what was done.

    Attributes:
        turns: how often it has come round. For other threads.
        renewing: whether a damaged file is being replaced, which takes its time. For other threads.
    """

    def __init__(
        self, files: FileWatch, inbox: Inbox, limits: Limits, pace: Pace, clock: Clock, log: LogState
    ) -> None:
        self.turns = 0
        self.renewing = False
        self._files = files
        self._inbox = inbox
        self._limits = limits
        self._pace = pace
        self._log = log
        self._upkeep = Upkeep(limits, clock)
        self._said: list[Said] = []
        self._states = (False, False)
        self._gave_up = self._uncounted = False

    def start(self) -> None:
        self._look_round()
        with suppress(sqlite3.Error):  # which shows soon enough
            self._upkeep.size.measure(self._store, self._store.reach())
        threading.Thread(target=self._run, name="tdbwatch-spool", daemon=True).start()

    @property
    def gap_records(self) -> int:
        """How many gap records there is space for, as of the last turn. For other threads."""
        return self._upkeep.size.gap_records

    @property
    def _store(self) -> Store:
        return self._files.store

    def _run(self) -> None:
        failed: BaseException | None = None
        group: Group | None = None
        try:
            while (group := self._inbox.take(self._patience)) is not None:
                self._turn(group)
                self.turns += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, the event loop must hear of it
            failed = error
        finally:
            with suppress(sqlite3.Error):
                self._store.close()
            waiting = group.all_waiting if failed and group else []
            self._say(self._log.ended, failed, waiting, not self._uncounted)
            self._tell()

    @property
    def _patience(self) -> float:
        """Seconds to wait for something to write; none, while there is more to do."""
        return 0 if self._upkeep.busy else self._pace.check

    def _turn(self, group: Group) -> None:
        if self._inbox.limits is not self._limits:
            self._limits = self._inbox.limits
            self._upkeep.keep_to(self._limits)
            self._look_round()
        self._check()
        if group.packings and self._upkeep.refuses:
            self._say(self._log.drops.add, group.give_up_events(MAX_SIZE))
        if self._gave_up:
            self._forsake(group)
        blocks = [] if group.empty else self._write(group)
        self._inbox.done()
        for copies in group.copies:
            blocks = [*blocks, *self._copy(copies)]
        self._tidy(blocks)
        self._tell()

    def _look_round(self) -> None:
        """See what these limits mean for this disk."""
        self._inbox.group_bytes = min(self._limits.group_bytes, self._store.space.group_bytes)

    # -- what the event loop hears -----------------------------------------------------------------------

    def _say(self, act: Callable[..., None], *args: Any) -> None:
        """Have this called in the event loop, with all else that there is to say."""
        self._said.append((act, args))

    def _tell(self) -> None:
        """Say it now."""
        if self._said:
            self._log.hear(self._said)
            self._said = []

    def _wait(self) -> None:
        """Wait before the disk is tried again."""
        self._tell()
        self._inbox.pause(self._pace.retry)

    def _grown(self, blocks: Sequence[Block]) -> None:
        if blocks:
            self._say(self._log.grown, blocks)

    def _gone(self, blocks: Sequence[Gone]) -> None:
        if blocks:
            self._say(self._log.gone, blocks, self._store.first_seq)

    # -- the file ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        """See whether the file is still what it should be, now and then."""
        if not self._files.due(self._pace.check):
            return
        if (error := self._files.look()) is not None:
            self._replace(error)
        if (size := self._files.log.grew(self._store)) is not None:
            self._say(self._log.alarms.log_grows, size)

    def _replace(self, error: Exception) -> None:
        """Go on with a new file, under the same numbers and with what memory still holds."""
        if self._files.replaced_within(self._pace.retry):
            self._wait()  # a disk that spoils one file after the other
        self.renewing = True
        try:
            damage = self._files.replace(error)
        except (sqlite3.Error, OSError) as trouble:
            self._files.suspect(error)  # until there is space, or the folder can be written again
            self._say(self._log.alarms.disk, str(trouble))
            self._wait()
        else:
            self._upkeep.keep_to(self._limits)
            self._say(self._log.alarms.disk, "")
            self._say(self._log.damaged, damage, self._store.first_seq, self._store.entries)
        finally:
            self.renewing = False

    def _is_damage(self, error: Exception) -> bool:
        """Whether the file is to be replaced at the next look."""
        if found := is_damage(error):
            self._files.suspect(error)
        return found

    # -- writing -----------------------------------------------------------------------------------------

    def _write(self, group: Group) -> list[Block]:
        """Commit the group, however long the disk makes us wait."""
        for tries in count(1):
            try:
                blocks = self._commit(group)
            except sqlite3.Error as error:
                if not self._is_damage(error):
                    if not self._files.suspected:  # else there is no file, and it was said why
                        self._say(self._log.alarms.disk, str(error))
                    if self._inbox.closed and (tries > _RETRIES_AT_CLOSE or self._gave_up):
                        break
                    if is_full(error):
                        self._inbox.join(group)
                        self._write_parts(group, group.apart)
                        group.notes.pop((Attempts, ""), None)  # written or not: they are only history
                    self._wait()
                self._check()
                continue
            if tries > 1:
                self._say(self._log.alarms.disk, "")
            self._grown(blocks)
            self._say(answer, group.waiting)
            return blocks
        self._give_up(group)
        return []

    def _commit(self, group: Group) -> list[Block]:
        """What is delivered need not stand in the way of what comes in, when it is the disk that is full."""
        if group.packings:  # what ends events is always taken: there is an end of it
            self._files.log.bound(self._store, self._limits.max_log)
        rows, notes = [packing.row() for packing in group.packings], group.all_notes
        try:
            return self._store.commit(rows, notes, squeezed=group.pressed)
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
        with trusting_nothing():
            for gone in self._upkeep.size.relieve(self._store, self._store.reach()):
                self._gone(gone)
        return self._store.commit(rows, notes, squeezed=group.pressed)

    def _write_parts(self, group: Group, parts: Iterable[Sequence[Note]]) -> None:
        """Some of its notes are written without the events, each part in a commit of its own.

        So events that wait for space do not hold up what sinks are finished with, which makes some. Nor do
        the dead letters of one sink hold up the others.
        """
        for notes in parts:
            with suppress(sqlite3.Error):
                self._store.commit((), notes)
                for note in notes:
                    self._say(answer, note.waiters)
                    del group.notes[type(note), note.about]

    def _give_up(self, group: Group) -> None:
        """We end now: the events are lost, but not their count and all else, as far as that still fits."""
        self._gave_up = True
        if group.packings:
            self._say(self._log.drops.add, group.give_up_events(DISK_REFUSED))
        self._forsake(group)
        self._write_parts(group, [group.all_notes])
        small = [note for note in group.all_notes if not isinstance(note, Change | Attempts)]
        self._write_parts(group, [small])
        self._write_parts(group, group.apart)
        self._uncounted |= any(isinstance(note, Tally) for note in group.notes.values())
        self._say(self._log.refused, group.waiting)

    def _forsake(self, group: Group) -> None:
        """Events are lost: nobody who asks for all that there was may think that it is durable."""
        group.notes.pop((Beat, ""), None)  # the gap begins with the beat before
        self._say(self._log.refused, group.notes.pop((Flush, ""), Flush()).waiters)

    def _copy(self, copies: Copies) -> list[Block]:
        """Add copies that people ordered, if there is space that nothing else needs."""
        rows, blocks, done = copies.rows(self._upkeep.now_us()), list[Block](), False
        try:
            with trusting_nothing():
                fits = self._upkeep.size.takes_copies(self._store, self._store.reach(), weight(rows, -1))
            if fits:
                self._files.log.bound(self._store, self._limits.max_log)
                blocks, done = self._store.commit(rows, [copies], can_wait=True), True
        except GoneError:  # the order is looked at anew
            pass
        except sqlite3.Error as error:
            self._is_damage(error)
        self._grown(blocks)
        self._say(answer, copies.waiters, done)
        return blocks

    def _tidy(self, blocks: Sequence[Block]) -> None:
        """Keep the limits, in small steps; what is left of them is for the next turns, at once."""
        try:
            for step in self._upkeep.steps(self._store, self._store.reach, blocks):
                self._gone(step.gone)
                if step.tally is not None and step.tally.rooms:
                    self._say(self._log.drops.add, step.tally)
        except UNREADABLE as error:
            self._is_damage(error)
        if lost := self._upkeep.lost_letters():
            self._say(self._log.alarms.letters_dropped, lost)
        states = self._upkeep.refuses, self._upkeep.age.catching_up
        if states != self._states:
            self._states = states
            self._say(self._log.alarms.limits, *states)
