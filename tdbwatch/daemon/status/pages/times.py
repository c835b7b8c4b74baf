"""Times as the page shows them. Pure."""

from tdbwatch.daemon.status.pages.markup import element
from tdbwatch.daemon.words import ago
from tdbwatch.plugin.event import format_time


def clock_time(microseconds: int | None) -> str:
    """A date and time, to the second."""
    if microseconds is None:
        return "unknown"
    timestamp = format_time(microseconds)
    return element("time", timestamp[:19].replace("T", " ") + "Z", datetime=timestamp)


def when(then_us: int | None, now_us: int) -> str:
    """How long ago it was."""
    if then_us is None:
        return "-"
    timestamp = format_time(then_us)
    return element("time", ago(then_us, now_us), datetime=timestamp, title=timestamp)
