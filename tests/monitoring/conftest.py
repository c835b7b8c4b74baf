"""Debian's promtool, where it is installed."""

import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    """The program."""
    if (found := shutil.which("promtool")) is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    return found
