"""When a room was surely heard: what several links together heard, and what none of them did."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.client.rooms.hearing import IN_FLIGHT, LIMIT, Hearing


@dataclass(eq=False)
class Link:
    heard_at: float = 0.0


@pytest.fixture
def hearing():
    return Hearing()


def begins(hearing, now):
    link = Link(now)
    hearing.begins(link, now)
    if len(hearing._links) == 1 and not hearing._ended:
        hearing.resumes(now)
    return link


def test_the_loss_of_the_only_link_is_a_hole_since_it_was_heard_last(hearing):
    link = begins(hearing, 0.0)
    assert hearing
    assert hearing.ends(link, 10.0) == 10.0
    assert not hearing


def test_a_link_that_joined_long_before_stands_in_for_one_that_is_lost(hearing):
    first, _ = begins(hearing, 0.0), begins(hearing, 2.0)
    assert hearing.ends(first, 10.0) is None


def test_a_link_that_joined_just_before_does_not_know_what_was_on_its_way(hearing):
    first, _ = begins(hearing, 0.0), begins(hearing, 9.5)
    assert hearing.ends(first, 10.0) == 10.0


def test_links_that_join_at_once_stand_in_for_each_other_at_once(hearing):
    first, _ = begins(hearing, 0.0), begins(hearing, 0.05)
    assert hearing.ends(first, 0.06) is None


def test_a_frozen_link_does_not_stand_in_for_one_that_is_lost_meanwhile(hearing):
    frozen, lost = begins(hearing, 0.0), begins(hearing, 0.0)
    frozen.heard_at = 5.0
    assert hearing.ends(lost, 10.0) is None
    begins(hearing, 12.0)
    assert hearing.ends(frozen, 5.0) == 10.0


def test_a_frozen_link_whose_place_others_took_in_time_is_no_hole(hearing):
    frozen, lost = begins(hearing, 0.0), begins(hearing, 0.0)
    frozen.heard_at = 5.0
    begins(hearing, 8.0)
    assert hearing.ends(lost, 10.0) is None
    assert hearing.ends(frozen, 5.0) is None


def test_what_was_told_is_not_told_again(hearing):
    frozen, lost = begins(hearing, 0.0), begins(hearing, 0.0)
    frozen.heard_at = 5.0
    hearing.ends(lost, 10.0)
    begins(hearing, 12.0)
    hearing.resumes(12.0)
    assert hearing.ends(frozen, 5.0) is None


def test_a_link_that_never_heard_it_ends_without_a_hole(hearing):
    begins(hearing, 0.0)
    assert hearing.ends(Link(), 10.0) is None


def test_what_is_remembered_is_bounded(hearing):
    begins(hearing, 0.0)  # frozen for ever
    for number in range(3 * LIMIT):
        hearing.ends(begins(hearing, float(number)), float(number))
    assert len(hearing._ended) <= LIMIT


lives = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 20)).map(
        lambda n: (float(n[0]), float(n[0] + n[1]), float(n[2]))
    ),
    min_size=1,
    max_size=6,
)


@given(lives)
def test_every_moment_that_no_link_heard_is_told_once_all_have_ended(lives):
    """Each life: when it joined, until when it heard, and how much later that was noticed."""
    hearing, told, silent_since, heard = Hearing(), [], None, False
    happenings = [(joined, 0, n) for n, (joined, _, _) in enumerate(lives)]
    happenings += [(until + later, 1, n) for n, (_, until, later) in enumerate(lives)]
    links = {}
    for now, what, number in sorted(happenings):
        if what == 0:
            links[number] = Link(lives[number][1])
            hearing.begins(links[number], now)
        elif (since := hearing.ends(links[number], lives[number][1])) is not None and heard:
            heard, silent_since = False, since
        if hearing and not heard:
            told.append((float("-inf") if silent_since is None else silent_since, now))
            heard = True
            hearing.resumes(now)
    end = max(until + later for _, until, later in lives)
    told.append((silent_since, end) if not heard else (end, end))
    for quarter in range(int(4 * max(until for _, until, _ in lives))):
        moment = quarter / 4
        surely = any(joined <= moment < until for joined, until, _ in lives)
        assert surely or any(since - IN_FLIGHT <= moment <= until for since, until in told)
