"""The oracle sees what it is for."""

from .verdict import Gap, Sent, judge

SENT = [Sent(1, 10.0), Sent("same", 20.0), Sent("same", 30.0), Sent(4, 40.0)]


def test_what_came_once_each_is_fine() -> None:
    verdict = judge(SENT, [4, "same", 1, "same"], [])
    assert (verdict.lost, verdict.doubled, verdict.untold, verdict.unpassed) == ({}, {}, {}, set())


def test_losses_and_duplicates_are_counted_by_payload() -> None:
    verdict = judge(SENT, [1, 1, "same"], [])
    assert verdict.lost == {"same": 1, 4: 1}
    assert verdict.doubled == {1: 1}


def test_a_loss_within_a_gap_is_told_and_one_outside_is_not() -> None:
    verdict = judge(SENT, [1, "same"], [Gap(25.0, 35.0, "why")])
    assert verdict.untold == {4: 1}


def test_what_a_connection_heard_and_nobody_got_is_seen() -> None:
    assert judge(SENT, [1, "same", "same"], [], heard_by_links=[1, 4]).unpassed == {4}
