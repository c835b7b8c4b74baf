"""Messages of others are shown where they say nothing of a hidden value, and only there."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.config.disguise import disguised, reveals


def told(say: Callable[[Any], str | None], value: Any) -> bool:
    """Whether what `say` says of the hidden value is found to reveal it."""
    data = {"open": "example", "hidden": value}
    message = say(value)
    assert message is not None
    return reveals(message, data, [("hidden",), ("not", "there")], lambda other: say(other["hidden"]))


@pytest.mark.parametrize("value", ["example.org", "https//example.org", "hook", "htt"])
def test_a_fixed_message_is_shown_even_if_it_holds_parts_of_the_value(value: str):
    assert not told(lambda value: "this is not a URL; write https://example.org/hook", value)


@given(st.text(min_size=1))
def test_a_message_that_repeats_the_value_is_never_shown(value: str):
    assert told(lambda value: f"bad <{value}>", value)


@given(st.text(min_size=4), st.data())
def test_nor_is_one_that_repeats_four_characters_of_it(value: str, data: Any):
    start = data.draw(st.integers(0, len(value) - 4))
    assert told(lambda value: f"bad <{value[start : start + 4]}>", value)


@pytest.mark.parametrize("value", [123456, 1.25, ["hunter2"], {"a": {"b": "hunter2"}}, {"a": 123456}])
def test_numbers_and_what_is_within_lists_and_mappings_are_values_too(value: Any):
    assert told(lambda value: f"bad {value}", value)


def test_a_message_that_is_not_repeated_for_another_value_is_not_shown():
    assert told(lambda value: "hunter2 is a bad password" if value == "hunter2" else None, "hunter2")


@given(st.text())
def test_a_disguise_keeps_the_shape_and_no_letter_or_digit(text: str):
    pairs = list(zip(text, disguised(text), strict=True))
    assert all((one != other) if one.isalnum() else (one == other) for one, other in pairs)
