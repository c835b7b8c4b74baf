"""`context.store`: what a sink keeps for itself, in memory at once and in the spool soon after."""

import functools
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.exceptions import EncodeError
from tdbwatch.plugin.store import MOST_BYTES, MOST_KEYS, MOST_VALUE, SinkStore

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)

NESTED = functools.reduce(lambda inner, _: [inner], range(2_000), 1)


@settings(max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=20), values, max_size=5))
def test_what_is_set_is_there_and_in_what_is_saved(kept: dict[str, Any]) -> None:
    saved: dict[str, bytes] = {}

    def save(key: str, packed: bytes | None) -> None:
        assert packed is not None
        saved[key] = packed

    store = SinkStore({}, save)
    for key, value in kept.items():
        store.set(key, value)
        assert store.get(key) == value
    assert dict(store.items()) == dict(SinkStore(saved).items()) == kept


def test_what_is_deleted_is_gone_there_too_and_nothing_is_written_twice() -> None:
    said: list[tuple[str, bytes | None]] = []
    store = SinkStore({}, lambda key, packed: said.append((key, packed)))
    store.set("a", 1)
    store.set("a", 1)
    store.delete("a")
    store.delete("a")
    assert said == [("a", b"\x01"), ("a", None)]
    assert (store.get("a"), store.get("a", "none"), store.items()) == (None, "none", [])


def test_a_value_is_a_copy() -> None:
    store, value = SinkStore(), {"n": [1]}
    store.set("a", value)
    value["n"].append(2)
    store.get("a")["n"].append(3)
    assert store.get("a") == {"n": [1]}


@pytest.mark.parametrize(
    ("key", "value", "error", "said"),
    [
        ("", 1, ValueError, "text of 1 to 200 characters"),
        ("x" * 201, 1, ValueError, "text of 1 to 200 characters"),
        (5, 1, ValueError, "text of 1 to 200 characters"),
        ("a", "x" * MOST_VALUE, ValueError, "may take 100,000 bytes; that of 'a' has 100,005"),
        ("\ud800", 1, ValueError, "text of 1 to 200 characters, without lone surrogates"),
        (
            "a",
            {1},
            EncodeError,
            "value of 'a' cannot be kept: .*'set' object; a value is None, a bool",
        ),
        ("a", 1 << 64, EncodeError, "value of 'a' cannot be kept: .*range; .*integers of up to 64 bits"),
        ("a", "\ud800", EncodeError, "value of 'a' cannot be kept: .*surrogates.*; a value is"),
        ("a", NESTED, EncodeError, "value of 'a' cannot be kept: .*recursion.*; a value is"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_changes_nothing(
    key: Any, value: object, error: type[Exception], said: str
) -> None:
    store = SinkStore()
    store.set("a", "before")
    with pytest.raises(error, match=said) as caught:
        store.set(key, value)
    assert "ThingsDB" not in str(caught.value), "which does not see it"
    assert store.items() == [("a", "before")]


def test_keys_and_bytes_are_bounded_and_what_is_deleted_makes_space() -> None:
    store = SinkStore()
    for number in range(MOST_KEYS):
        store.set(str(number), number)
    with pytest.raises(ValueError, match="1,000 keys already"):
        store.set("more", 1)
    store.set("7", "known keys may change")
    for number in range(10):
        store.set(str(number), "x" * 99_000)
    with pytest.raises(ValueError, match=f"may take {MOST_BYTES:,} bytes; with '10' it were"):
        store.set("10", "x" * 99_000)
    store.delete("0")
    store.set("10", "x" * 99_000)


def test_threads_do_not_lose_each_others_keys() -> None:
    store = SinkStore()
    threads = [threading.Thread(target=store.set, args=(str(number), number)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(value for _, value in store.items()) == list(range(20))
