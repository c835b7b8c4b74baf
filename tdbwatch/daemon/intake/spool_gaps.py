"""Makes gap records of what the spool could not keep."""

from tdbwatch.clock import Clock
from tdbwatch.daemon.holding.remembering import Remembering
from tdbwatch.daemon.hosting.stores import Stores
from tdbwatch.daemon.intake.causes import Cause
from tdbwatch.daemon.intake.rooms import Rooms
from tdbwatch.daemon.intake.source import GapTimes, Source
from tdbwatch.daemon.spool.file.aside import DamageReport
from tdbwatch.daemon.spool.stored.drops import Tally
from tdbwatch.daemon.status import Journal


class SpoolGaps:
    """Told by the spool."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    def begin(self, source: Source, rooms: Rooms, stores: Stores, remembering: Remembering) -> None:
        """Where records go, which rooms there are, and who keeps something: they need the spool."""
        self._source, self._rooms, self._stores, self._remembering = source, rooms, stores, remembering

    def dropped(self, tally: Tally) -> None:
        """It dropped events."""
        reason = f"spool: {tally.reason}"
        if tally.note:
            reason += f" ({tally.note}); a faster disk, fewer rooms or several daemons help"
        for lane, loss in tally.rooms.items():
            times = GapTimes(loss.since_us, loss.until_us)
            self._source.gap(lane, times, Cause.SPOOL, reason, dropped=loss.count)
        self._journal.told_again(tally.again)

    def damaged(self, report: DamageReport) -> None:
        """Its file was damaged."""
        self._stores.save_all()
        self._remembering.save_all()
        now_us = int(self._clock.time() * 1_000_000)
        what = f" and moved to {report.moved_to.name}" if report.kept else f": {report.error}"
        for room in self._rooms:
            times = GapTimes(None, now_us)
            self._source.gap(room.lane, times, Cause.DAMAGE, f"the spool was damaged{what}")
