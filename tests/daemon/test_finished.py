"""`Finished` is a set of whole numbers within bounds."""

from hypothesis import given
from hypothesis import strategies as st
from tdbwatch.daemon.spool.finished import Finished

SEQS = st.integers(-20, 120)


@given(after=st.integers(0, 50), through=st.integers(0, 100), spans=st.lists(st.tuples(SEQS, SEQS)))
def test_it_is_what_a_set_would_be(after: int, through: int, spans: list[tuple[int, int]]) -> None:
    finished, expected = Finished(after, through), set[int]()
    for first, last in spans:
        finished.add(first, last)
        expected |= {seq for seq in range(first, last + 1) if after < seq <= through}
    assert {seq for seq in range(-30, 130) if seq in finished} == expected
    assert list(finished) == sorted(expected)
    assert (len(finished), bool(finished)) == (len(expected), bool(expected))
    assert finished.last == max(expected, default=0)


def test_nonsense_of_a_damaged_file_takes_no_memory() -> None:
    finished = Finished(10, 20)
    finished.add(-(1 << 62), 1 << 62)
    assert list(finished) == list(range(11, 21))
    assert "x" not in finished
