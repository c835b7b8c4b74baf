"""What others wrote comes into no line of the connector's log as it is."""

import logging

import pytest

from tdbwatch.loggers import get_logger, is_worth_saying


def said(caplog: pytest.LogCaptureFixture, *args: object) -> str:
    with caplog.at_level(logging.DEBUG, "tdbwatch.client"):
        get_logger("tdbwatch.client").warning(*args)
    return caplog.messages[-1]


def test_texts_of_others_forge_no_line_steer_no_terminal_and_are_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = ValueError("bad\n2026-01-01 CRITICAL all is lost \x1b[2J\u202e" + "x" * 1_000_000)
    line = said(caplog, "cannot join: %s", error)
    assert line.startswith(r"cannot join: bad\n2026-01-01 CRITICAL all is lost \x1b[2J\u202exxx")
    assert len(line) < 3_000


def test_numbers_stay_numbers(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, "%d rooms in %.1f s%s", 3, 0.25, None) == "3 rooms in 0.2 sNone"


def test_a_logger_is_made_careful_once() -> None:
    assert len(get_logger("tdbwatch.client").filters) == len(get_logger("tdbwatch.client").filters) == 1


def test_of_what_repeats_ever_fewer_are_worth_saying() -> None:
    assert [count for count in range(1, 100) if is_worth_saying(count)] == [1, 2, 4, 8, 16, 32, 64]
