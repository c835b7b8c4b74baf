"""What tests of every folder use."""

import logging
import socket
from collections.abc import Iterator

import pytest

from tdbwatch.daemon import logs


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands that run in this process configure its logging, and the next test must not notice."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.reset()
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger in root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False  # by a `dictConfig` that did not know it


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens. It is bound meanwhile, so that no other test is given it."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]
