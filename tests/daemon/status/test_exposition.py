"""What is written in Prometheus' text format, its own parser reads as it was meant."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tdbwatch.daemon.histogram import Histogram
from tdbwatch.daemon.status.exposition import Definition, Histograms, pieces

from .status_moments import FINE

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))
VALUES = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@given(st.dictionaries(st.tuples(NAMES, NAMES), VALUES))
def test_any_label_and_number_is_read_as_it_was(samples: dict[tuple[str, str], float]) -> None:
    metric = Definition("m", "gauge", "What it means", ("a", "b"), lambda _: samples.items())
    [family] = text_string_to_metric_families("".join(pieces([metric], FINE)))
    assert (family.type, family.documentation) == ("gauge", "What it means")
    assert {(s.labels["a"], s.labels["b"]): s.value for s in family.samples} == samples


@given(st.lists(st.floats(0, 5)))
def test_a_histogram_is_read_as_one(seconds: list[float]) -> None:
    observed = Histogram((0.5, 1.0))
    for each in seconds:
        observed.observe(each)
    metric = Histograms("m", "What it means", ("a",), lambda _: [(("x",), observed.now)])
    [family] = text_string_to_metric_families("".join(pieces([metric], FINE)))
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert family.type == "histogram"
    assert found["m_bucket", "+Inf"] == found["m_count", None] == len(seconds)
    assert found["m_bucket", "0.5"] == sum(each <= 0.5 for each in seconds)
    assert found["m_sum", None] == observed.now.total


def test_much_comes_in_many_pieces() -> None:
    metric = Definition("m", "counter", "", ("a",), lambda _: [((str(n),), n) for n in range(10_000)])
    found = list(pieces([metric], FINE))
    assert len(found) == 11
    assert max(piece.count("\n") for piece in found) == 1_000
