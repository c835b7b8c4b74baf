"""The merge, case by case. In each, two links or more hear one room; `a` and `b` were there all the time."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.client.merging.debts import Debts
from tdbwatch.client.merging.history import LIMIT, History
from tdbwatch.client.merging.merge import PATIENCE, SETTLE, Merge

START = 100.0


def settled(*links: str) -> Merge:
    """A merge whose links joined long ago."""
    merge = Merge()
    for link in links:
        merge.add(link, 0.0)
    for number in range(40):
        for link in links:
            merge.receive(link, ("before", number), START - 40.0 + number)
    return merge


# -- while the same links live -------------------------------------------------------------------------


def test_what_two_links_deliver_is_passed_on_once_whoever_is_first() -> None:
    merge = settled("a", "b")
    assert [merge.receive("a", "x", START), merge.receive("b", "x", START)] == [True, False]
    assert [merge.receive("b", "y", START), merge.receive("a", "y", START)] == [True, False]


def test_equal_emits_are_each_passed_on() -> None:
    merge = settled("a", "b")
    assert [merge.receive("a", "x", START) for _ in range(3)] == [True] * 3
    assert [merge.receive("b", "x", START) for _ in range(4)] == [False, False, False, True]
    assert merge.receive("a", "x", START) is False


def test_a_single_link_passes_everything_on() -> None:
    merge = settled("a")
    assert all(merge.receive("a", "x", START) for _ in range(5))


ORDERS = st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from("xyz")), max_size=12)


def as_heard(emits: list[tuple[int, str]], rng: random.Random) -> list[str]:
    """One link's order of the emits: that of each emitting node is kept."""
    queues = [[key for node, key in emits if node == n] for n in (0, 1)]
    return [
        (queues[0] if rng.random() < len(queues[0]) / (len(queues[0]) + len(queues[1])) else queues[1]).pop(0)
        for _ in emits
    ]


@given(emits=ORDERS, cut=st.integers(0, 12), rng=st.randoms(use_true_random=False))
def test_any_interleaving_is_exact_and_stays_so_when_a_link_dies(
    emits: list[tuple[int, str]], cut: int, rng: random.Random
) -> None:
    merge = settled("a", "b")
    streams = {"a": as_heard(emits, rng)[:cut], "b": as_heard(emits, rng)}
    passed_on: Counter[str] = Counter()
    while any(streams.values()):
        link = rng.choice([name for name, stream in streams.items() if stream])
        key = streams[link].pop(0)
        passed_on[key] += merge.receive(link, key, START)
        if link == "a" and not streams["a"]:
            merge.remove("a", START)
    heard = Counter(key for _, key in emits)
    assert passed_on == +heard
    assert merge.uncertain == 0


@given(nodes=st.lists(st.sampled_from([0, 1]), max_size=12), rng=st.randoms(use_true_random=False))
def test_the_order_of_each_emitting_node_is_kept(nodes: list[int], rng: random.Random) -> None:
    merge = settled("a", "b")
    emits = [(node, f"{node} {number:02}") for number, node in enumerate(nodes)]
    streams = {"a": as_heard(emits, rng), "b": as_heard(emits, rng)}
    passed_on = []
    while any(streams.values()):
        link = rng.choice([name for name, stream in streams.items() if stream])
        key = streams[link].pop(0)
        if merge.receive(link, key, START):
            passed_on.append(key)
    assert sorted(passed_on) == [key for key in passed_on if key[0] == "0"] + [
        key for key in passed_on if key[0] == "1"
    ]


def test_a_link_that_thaws_delivers_its_backlog_for_nothing() -> None:
    merge = settled("a", "b")
    for number in range(1000):
        assert merge.receive("a", number % 7, START + number * 0.015)
    assert not any(merge.receive("b", number % 7, START + 15.1) for number in range(1000))
    assert merge.receive("b", 3, START + 15.2)


def test_a_link_that_freezes_soon_after_its_join_and_thaws_alone_repeats_nothing() -> None:
    merge = Merge()
    for link in ("a", "b"):
        merge.add(link, START)
        merge.receive(link, "first", START + 0.1)
    for number in range(1000):
        assert merge.receive("a", number, START + 1.0 + number * 0.008)
    merge.remove("a", START + 9.5)
    assert merge.receive("b", "only on its node", START + 12.0)
    assert not any(merge.receive("b", number, START + 12.0) for number in range(1000))
    assert merge.receive("b", "next", START + 12.0)


def test_a_link_that_dies_late_leaves_what_it_alone_delivered_passed_on_once() -> None:
    merge = settled("a", "b")
    assert merge.receive("a", "x", START)
    merge.remove("a", START)
    assert not merge.receive("b", "x", START + 1)
    assert merge.receive("b", "x", START + 2)


def test_what_a_removed_link_still_delivers_is_dropped() -> None:
    merge = settled("a", "b")
    merge.remove("a", START)
    assert not merge.receive("a", "x", START)
    assert merge.receive("b", "x", START)


# -- a link joins --------------------------------------------------------------------------------------


def test_a_slower_link_that_joins_repeats_nothing() -> None:
    merge = settled("a", "b")
    for number in range(100):
        merge.receive("a", number, START + number * 0.01)
        merge.receive("b", number, START + number * 0.01)
    merge.add("c", START + 1.0)
    assert not any(merge.receive("c", number, START + 1.1) for number in range(50, 100))
    assert merge.receive("c", 100, START + 1.1)


def test_a_faster_link_that_joins_owes_what_it_never_delivers_only_for_a_while() -> None:
    merge = settled("a")
    merge.add("c", START)
    assert merge.receive("a", "missed by c", START + 0.01)
    now = START + 0.01
    for number in range(200):
        now += SETTLE / 80
        assert merge.receive("c", number, now)
        assert not merge.receive("a", number, now)
    merge.remove("a", now)
    assert merge.receive("c", "missed by c", now + 0.1), "it is another one"


def test_a_link_that_takes_over_from_the_only_one_repeats_nothing() -> None:
    merge = settled("a")
    merge.receive("a", "x", START)
    merge.remove("a", START + 0.1)
    merge.add("b", START + 0.2)
    assert not merge.receive("b", "x", START + 0.3)
    assert merge.receive("b", "y", START + 0.3)


def test_a_heartbeat_is_not_taken_for_its_own_repetition_when_the_only_link_is_replaced() -> None:
    merge = settled("a")
    for second in range(0, 10, 2):
        assert merge.receive("a", "alive", START + second)
    merge.remove("a", START + 8.1)
    merge.add("b", START + 8.2)
    assert merge.receive("b", "alive", START + 10)


def test_an_equal_emit_long_after_the_last_one_is_new_to_a_link_that_joined() -> None:
    merge = settled("a")
    merge.receive("a", "x", START)
    merge.remove("a", START + 1)
    merge.add("b", START + SETTLE + 1)
    assert merge.receive("b", "x", START + SETTLE + 1.1)


def placed(delay: float, rate: float) -> tuple[Merge, int, float]:
    """`c` joined `delay` seconds behind `a` (negative: ahead), while one in five emits is equal."""
    merge = settled("a")
    moments = sorted(
        moment
        for number in range(round(3 * SETTLE * rate))
        for moment in [(START + number / rate, "a", number), (START + number / rate + delay, "c", number)]
    )
    passed_on, joined = 0, START + SETTLE / 2
    for now, link, number in moments:
        if now >= joined and len(merge) == 1:
            merge.add("c", now)
        passed_on += merge.receive(link, number if number % 5 else "same", now)
    return merge, passed_on, moments[-1][0]


def test_a_link_is_placed_exactly_among_equal_emits_whether_behind_or_ahead() -> None:
    for delay in (-0.2, -0.05, -0.003, 0.001, 0.03, 0.2):
        merge, passed_on, _ = placed(delay, rate=200.0)
        assert passed_on == round(3 * SETTLE * 200), f"delay {delay}"
        assert merge.delivered == passed_on + 40


def test_after_it_was_placed_a_link_alone_passes_every_equal_emit_on() -> None:
    for delay in (-0.2, -0.05, 0.001):
        merge, _, now = placed(delay, rate=200.0)
        merge.remove("a", now)
        fresh = [merge.receive("c", "same", now + 0.01 * n) for n in range(1, 30)]
        assert all(fresh), f"delay {delay}"


def test_without_a_witness_equal_emits_are_rather_doubled_than_lost() -> None:
    merge = settled("a")
    for number in range(20):
        merge.receive("a", "same", START + number * 0.01)
    merge.leaving("a", START + 0.2)
    merge.add("b", START + 0.21)
    assert merge.receive("b", "same", START + 0.22)
    assert merge.uncertain > 0


def test_a_silent_link_is_no_witness() -> None:
    merge = settled("a")
    for number in range(20):
        merge.receive("a", "same", START + number * 0.01)
    merge.add("b", START + 0.21)
    fresh = [merge.receive("b", "same" if n % 5 else n, START + 0.21 + n * 0.01) for n in range(1, 100)]
    assert all(fresh[40:]), "a says nothing any more, so b must"


# -- bounds --------------------------------------------------------------------------------------------


def test_what_a_link_owes_for_longer_than_the_patience_is_forgotten_and_counted() -> None:
    merge = settled("a", "b")
    merge.receive("a", "x", START)
    for second in range(round(1.5 * PATIENCE)):
        for link in ("a", "b"):
            merge.receive(link, second, START + second)
    assert merge.receive("b", "x", START + 1.5 * PATIENCE)
    assert merge.uncertain == 1


def test_debts_keep_to_their_limit_and_forget_the_oldest() -> None:
    debts = Debts()
    for number in range(1000):
        debts.owe(number, number + 1)
    assert debts.trim(limit=800) == 300
    assert len(debts) == 700
    assert debts.pay(299) is None
    assert debts.pay(300) == 301


def test_the_history_keeps_to_its_limit() -> None:
    history = History(span=10.0, tick=0.1)
    history.mark(0.5, 0)
    history.keys.extend(range(LIMIT + 10))
    history.mark(1.0, LIMIT + 10)
    assert [*history.since(0.0, LIMIT + 10)][:1] == [(11, 10)]
    assert len(history.keys) == LIMIT


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans())))
def test_debts_are_paid_oldest_first(steps: list[tuple[str, bool]]) -> None:
    debts, model = Debts(), {"a": list[int](), "b": list[int]()}
    for number, (key, owe) in enumerate(steps, start=1):
        if owe:
            debts.owe(key, number)
            model[key].append(number)
        else:
            assert debts.pay(key) == (model[key].pop(0) if model[key] else None)
        assert [debts.count(k) for k in "ab"] == [len(model[k]) for k in "ab"]
        assert debts.before(key, number) == sum(n < number for n in model[key])


def test_a_merge_that_is_quiet_for_long_keeps_nothing_alive() -> None:
    merge = settled("a", "b")
    for number in range(100):
        merge.receive("a", number, START)
    for link in ("a", "b"):
        merge.receive(link, "later", START + 10 * PATIENCE)
    assert merge.receive("b", 5, START + 10 * PATIENCE)
