"""Gaps as the status shows them: those that go on, and those of one happening in one row."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tdbwatch.daemon.status.document import document
from tdbwatch.daemon.status.journal import SPANS_KEPT, Journal
from tdbwatch.daemon.status.pages import missed
from tdbwatch.daemon.status.spans import still_open
from tdbwatch.plugin import Kind
from tdbwatch.plugin.event import format_time
from tdbwatch.testing import ManualClock

from .status_moments import FINE, NOW, OPEN, SECOND

FULL = "spool: max_size"
CAUSES = {FULL: "spool", "the room was deleted": "room", "the spool was damaged": "damage"}


def told(journal: Journal, room: str, since: int | None, until: int, reason: str = FULL, **more: Any) -> None:
    """A gap record was made; times in seconds after NOW."""
    details = {
        "since": None if since is None else format_time(NOW + since * SECOND),
        "until": format_time(NOW + until * SECOND),
        "reason": reason,
        "cause": CAUSES.get(reason, "connection"),
        "dropped": more.get("dropped"),
    }
    journal.recorded(Kind.GAP, "gap", "//stuff", room, details)


def rows(journal: Journal) -> list[str]:
    """The rows of the page's table, as text."""
    snapshot = replace(FINE, gaps=tuple(journal.gaps), spans=tuple(reversed(journal.spans)))
    text = [re.sub("<[^>]*>", " ", row) for row in re.split("<tr[^>]*>", missed.gaps(snapshot))[2:]]
    return [" ".join(row.split()) for row in text]


def test_a_burst_of_drops_is_one_row_with_its_rooms_and_events_and_the_json_has_each() -> None:
    journal = Journal(ManualClock(NOW / 1e6))
    for second in range(20):
        for room in ("alerts", "deploys", "logins"):
            told(journal, room, second, second, dropped=100)
    [row] = rows(journal)
    assert row.startswith("3 rooms alerts, deploys, logins 2027-01-15 08:00:00Z 2027-01-15 08:00:19Z")
    assert " 6,000 spool spool: max_size" in row
    assert len(document(replace(FINE, gaps=tuple(journal.gaps)))["gaps"]) == 50


def test_events_that_are_told_of_again_since_their_gap_record_was_dropped_too_count_once() -> None:
    journal = Journal(ManualClock(NOW / 1e6))
    told(journal, "alerts", 0, 1, dropped=100)
    told(journal, "alerts", 0, 2, dropped=130)
    journal.told_again(100)
    [row] = rows(journal)
    assert row.endswith(" 130 spool spool: max_size")


def test_rooms_that_one_outage_took_are_one_row() -> None:
    journal = Journal(ManualClock(NOW / 1e6))
    told(journal, "alerts", 0, 30, "Connection refused")
    told(journal, "deploys", 1, 31, "Connection reset by peer")
    row, alerts, deploys = rows(journal)
    assert row.startswith("2 rooms")
    assert row.endswith("unknown connection Connection refused; Connection reset by peer")
    assert alerts == "alerts //stuff 2027-01-15 08:00:00Z 2027-01-15 08:00:30Z Connection refused"
    assert deploys == "deploys //stuff 2027-01-15 08:00:01Z 2027-01-15 08:00:31Z Connection reset by peer"


def test_rooms_that_one_outage_took_alike_need_no_rows_of_their_own_and_many_are_not_all_shown() -> None:
    journal = Journal(ManualClock(NOW / 1e6))
    for number in range(100):
        told(journal, f"room{number:02}", 0, 30, "Connection refused")
    assert len(rows(journal)) == 1
    told(journal, "room00", 0, 31, "Connection refused")
    assert len(rows(journal)) == 1 + missed.MAX_ROOMS


@pytest.mark.parametrize(
    ("since", "until", "reason"), [(36, 40, "Connection refused"), (0, 30, "the room was deleted")]
)
def test_what_comes_later_or_has_another_cause_is_a_row_of_its_own(
    since: int, until: int, reason: str
) -> None:
    journal = Journal(ManualClock(NOW / 1e6))
    told(journal, "alerts", 0, 30, "Connection refused")
    told(journal, "deploys", since, until, reason)
    assert len(rows(journal)) == 2


def test_a_gap_whose_beginning_nobody_knows_touches_by_its_end() -> None:
    journal = Journal(ManualClock(NOW / 1e6))
    for room in ("alerts", "deploys"):
        told(journal, room, None, 0, "the spool was damaged")
    [row] = rows(journal)
    assert row.startswith("2 rooms alerts, deploys unknown 2027-01-15 08:00:00Z")


def test_the_journal_keeps_so_many_rows() -> None:
    journal = Journal(ManualClock(NOW / 1e6))
    for number in range(100):
        told(journal, "alerts", number * 60, number * 60 + 1)
    assert len(rows(journal)) == SPANS_KEPT


def test_a_gap_that_goes_on_is_shown_as_still_open_and_is_in_the_json() -> None:
    snapshot = replace(FINE, open_gaps=(OPEN, replace(OPEN, room="deploys")))
    text = " ".join(re.sub("<[^>]*>", " ", missed.gaps(snapshot)).split())
    assert "0 records since the start, 2 rooms not heard now" in text
    assert "2 rooms alerts, deploys 2027-01-15 07:58:59Z still open for 1 min 1 s unknown connection" in text
    assert "No event was missed" not in text
    assert document(snapshot)["open_gaps"][0] == {
        "scope": "//stuff",
        "room": "alerts",
        "since": "2027-01-15T07:58:59.000000Z",
        "reason": "Connection refused",
        "cause": "connection",
    }


def test_rooms_that_are_not_heard_for_different_reasons_are_shown_with_each() -> None:
    later = replace(OPEN, room="deploys", since_us=OPEN.since_us + 60 * SECOND)
    missing = replace(OPEN, room="logins", reason="no such room", cause="room")
    assert len(still_open([OPEN, later, missing])) == 3
    assert len(still_open([OPEN, replace(later, since_us=OPEN.since_us + SECOND)])) == 1
