"""The last hour of rooms and sinks: counted by the minute, drawn, and paged where there are very many."""

import re
import tracemalloc
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.status.document import document
from tdbwatch.daemon.status.history import MINUTES, QUIET, History, Hour
from tdbwatch.daemon.status.pages import front
from tdbwatch.daemon.status.pages.chart import activity
from tdbwatch.daemon.status.pages.rooms import SHOWN, Choice
from tdbwatch.daemon.status.snapshot import RoomView

from .status_moments import FINE, HOSTILE, ROOM

LANE = Lane("//stuff", "alerts")


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 50)), max_size=60))
def test_each_event_counts_in_its_minute_and_for_an_hour(looks: list[tuple[int, int]]) -> None:
    history, now, count = History(), 90, 0
    heard: list[tuple[int, int]] = []
    history.take(now, {LANE: 0}, {})
    for seconds, new in looks:
        now, count = now + seconds * 10, count + new
        heard.append((now // 60, new))
        history.take(now, {LANE: count}, {})
    hour = history.room(*LANE)
    first = now // 60 - MINUTES + 1
    expected = [sum(new for minute, new in heard if minute == first + n) for n in range(MINUTES)]
    assert list(hour.minutes) == (expected if any(new for _, new in heard) else [])


def test_a_counter_that_begins_anew_and_a_sink_that_is_gone() -> None:
    history = History()
    for seconds, counters in ((0, {"a": 5, "b": 1}), (10, {"a": 2, "b": 1}), (20, {"a": 2})):
        history.take(seconds, {}, counters)
    assert (history.sink("a").total, history.sink("b")) == (7, QUIET)


def test_the_rate_is_that_of_a_minute_up_to_now() -> None:
    minutes = (*[0] * 58, 60, 15)
    assert Hour(minutes, 0.25).per_minute == 60
    assert Hour(minutes, 1.0).per_minute == 15
    assert QUIET.per_minute == 0


def test_five_thousand_rooms_take_little_memory_and_quiet_ones_less() -> None:
    rooms = {Lane("//stuff", f"room{n}"): 1 for n in range(5_000)}
    history = History()
    tracemalloc.start()
    try:
        for minute in range(0, 3 * MINUTES, 30):
            history.take(minute * 60, dict.fromkeys(rooms, minute), {})
        busy = tracemalloc.get_traced_memory()[0]
        history.take(3 * MINUTES * 60, {}, {})
        assert busy < 4_000_000
        assert tracemalloc.get_traced_memory()[0] < busy / 4
    finally:
        tracemalloc.stop()


def test_a_chart_says_what_it_shows_and_its_bars_are_as_high_as_the_counts() -> None:
    drawn = activity(Hour((*[0] * 57, 1, 10_000, 5_000)), HOSTILE)
    assert "10,000 in a minute" in drawn
    assert "15,001 events in the last hour" in drawn
    assert "<img" not in drawn
    [outline] = re.findall(r' d="([^"]+)"', drawn)
    assert outline == "M0 20V20h57V19h1V0h1V10h1V20z"
    assert activity(QUIET, "x") == "-"


def test_of_very_many_rooms_those_that_need_a_look_come_first_then_the_busiest() -> None:
    history = History()
    rooms = tuple(replace(ROOM, name=f"room{n}") for n in range(5_000))
    rooms = (*rooms[:-1], replace(rooms[-1], state="missing", reason="there is none"))
    history.take(0, {Lane("//stuff", f"room{n}"): n for n in range(100, 110)}, {})
    found = Choice().among(rooms, history)
    assert [room.name for room in found[:3]] == ["room4999", "room109", "room108"]
    assert [room.name for room in Choice("ROOM4999").among(rooms, history)] == ["room4999"]


def shown(*rooms: RoomView, **choice: Any) -> list[str]:
    text = front.render(replace(FINE, rooms=rooms), choice=Choice(**choice))
    return re.findall(r'<th scope="row"><span>(room\d+)<', text)


def test_all_rooms_are_found_on_some_page_and_the_page_stays_small() -> None:
    rooms = tuple(replace(ROOM, name=f"room{n}") for n in range(5 * SHOWN + 1))
    pages = [shown(*rooms, page=number) for number in range(1, 7)]
    assert sorted(name for one in pages for name in one) == sorted(room.name for room in rooms)
    assert max(map(len, pages)) == SHOWN
    assert shown(*rooms, page=99) == pages[-1]
    assert shown(*rooms, part="room25") == ["room25", "room250"]
    text = front.render(replace(FINE, rooms=rooms), choice=Choice("room", 2))
    assert 'href="./?room=room&amp;page=3"' in text
    assert "Page 2 of 6" in text
    assert len(text) < 100_000
    assert "Search" not in front.render(FINE)


def test_what_a_query_asks_for_is_taken_as_far_as_it_makes_sense() -> None:
    assert Choice.of(" a ", "3") == Choice("a", 3)
    for number in ("", "-1", "0", "x", "\u00b2", "9" * 50):
        assert Choice.of("", number) == Choice("", 1)


def test_programs_are_told_the_rates() -> None:
    history = History()
    history.take(60, {LANE: 6}, {"oncall": 7})
    told = document(FINE, history)
    assert (told["rooms"][0]["per_minute"], told["sinks"][0]["per_minute"]) == (6, 7)
