"""What the spool has to say of itself: to those who read the log, and to the one who writes gap records."""

from pathlib import Path
from shlex import quote
from typing import Any, Protocol

import structlog

from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.stored.drops import Tally


class Listener(Protocol):
    """Hears, in the event loop, what gap records should tell of."""

    def dropped(self, tally: Tally) -> None:
        """Undelivered events were given up."""

    def damaged(self, report: DamageReport) -> None:
        """A damaged file was replaced."""


class Alarms:
    """Says what begins, and what ends.

    Attributes:
        trouble: why the disk does not take events now; None when all is well.
        refusing: the spool is full of what is undelivered, and takes no more.
        catching_up: more is about to be dropped for its age, and one report can tell of all.
        lost_letters: dead letters given up since the start.
        log_bytes: how large SQLite's log was when that was said last; 0: it is as usual.
    """

    def __init__(self, path: Path, listener: Listener | None = None, log: Any = None) -> None:
        self.trouble: str | None = None
        self.refusing = self.catching_up = False
        self.lost_letters = self.log_bytes = 0
        self._listener = listener
        self._log = (log if log is not None else structlog.get_logger("tdbwatch.spool")).bind(path=str(path))

    def disk(self, error: str) -> None:
        """The disk refuses for this reason, or, if it is empty, accepts again."""
        if error and self.trouble is None:
            remedy = "make space, mend the disk, or end who reads it; events are held in memory until then"
            self._log.error("spool.disk_refuses", error=error, remedy=remedy)
        elif not error and self.trouble is not None:
            self._log.warning("spool.disk_accepts_again")
        self.trouble = error or None

    def limits(self, refusing: bool, catching_up: bool) -> None:
        """What follows from the limits now: `refusing` and `catching_up`."""
        if refusing and not self.refusing:
            remedy = "mend the sinks that are behind, or raise spool.max_size; what comes in is dropped"
            self._log.error("spool.full", remedy=remedy)
        elif self.refusing and not refusing:
            self._log.warning("spool.takes_events_again")
        self.refusing, self.catching_up = refusing, catching_up

    def damaged(self, report: DamageReport) -> None:
        remedy = "a new spool was begun; the old file is gone: see who removed it"
        if report.kept:
            look = f"tdbwatch spool doctor --dry-run --spool {quote(str(report.moved_to))}"
            remedy = f"a new spool was begun; for what the old one still holds, see `{look}`"
        self._log.error(
            "spool.damaged",
            error=report.error,
            moved_to=str(report.moved_to) if report.kept else None,
            rescued=report.rescued,
            progress_lost=report.progress_lost,
            remedy=remedy,
        )
        if self._listener is not None:
            self._listener.damaged(report)

    def log_grows(self, size: int) -> None:
        """Someone who reads on and on keeps SQLite from emptying its log; 0: not any more."""
        self.log_bytes = size
        if size:
            remedy = "another process reads the spool and does not let go of it: end that process"
            self._log.error("spool.log_grows", bytes=size, remedy=remedy)
        else:
            self._log.warning("spool.log_is_usual_again")

    def tightened(self, mode: str) -> None:
        """Others could read the file, as after a copy was put in its place."""
        remedy = "only its owner can read it now; see who could before, and give copies the mode 0600"
        self._log.warning("spool.tightened", mode=mode, remedy=remedy)

    def letters_dropped(self, count: int) -> None:
        self.lost_letters += count
        self._log.error("spool.dead_letters_dropped", count=count)

    def dropped(self, tally: Tally) -> None:
        """Gap records tell of this now."""
        self._log.error("spool.dropped", reason=tally.reason, count=tally.count)
        if self._listener is not None:
            self._listener.dropped(tally)

    def dropped_untold(self, tally: Tally, then: str) -> None:
        """No gap record tells of it yet; what will."""
        self._log.error("spool.dropped", reason=tally.reason, count=tally.count, then=then)

    @property
    def holding(self) -> bool:
        """Whether what could be told now would be dropped, too, or is better told a little later."""
        return self.refusing or self.catching_up or self.trouble is not None

    def writer_died(self, error: BaseException) -> str:
        """Nothing is written any more; why."""
        remedy = "restart; this is a mistake of tdbwatch"
        self._log.critical("spool.writer_died", exc_info=error, remedy=remedy)
        self.trouble = f"the writer died: {error!r}"
        return self.trouble
