"""A real server for each file of tests."""

from collections.abc import Iterator

import pytest
from redis import Redis
from tdbwatch.testing import Program, free_port, program_path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """It has on disk what it has answered."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    command = [program_path("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with Program([*command, "--appendonly", "yes", "--save", ""], port, folder) as server:
        yield server


@pytest.fixture
def redis(server: Program) -> Iterator[Redis]:
    """A client of an empty server."""
    with Redis(port=server.port) as client:
        client.flushall()
        yield client
