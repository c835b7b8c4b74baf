"""What tests of every folder use."""

import gc
import logging
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from hypothesis import HealthCheck, settings

from tdbwatch.daemon import logs
from tdbwatch.descriptors import Reserve, reserve
from tdbwatch.redaction import redact
from tests.forked import Forker

settings.register_profile("tdbwatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tdbwatch")  # how long examples take says more of the machine than of the code


def pytest_collection_finish() -> None:
    """What was collected stays: to look for garbage in it costs a quarter second each time."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(autouse=True)
def _no_secrets_from_before() -> Iterator[None]:
    """A secret of one test is an ordinary word in the next."""
    yield
    redact.forget()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens. It is bound meanwhile, so that no other test is given it."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]


@pytest.fixture
def none_left() -> Callable[[], AbstractContextManager[None]]:
    """While entered, the process gets no descriptor but those that something here gives back."""

    @contextmanager
    def entered() -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    return entered


@pytest.fixture
def held() -> Iterator[Reserve]:
    """The process's reserve, as the daemon has it."""
    assert reserve.look()
    yield reserve
    reserve.close()
    reserve.pressure = 0


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    """Runs programs in processes of their own that have imported tdbwatch already."""
    made = Forker()
    yield made
    made.close()
