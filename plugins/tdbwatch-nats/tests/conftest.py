"""A real server for each file of tests, with a stream that takes `tdbwatch.>`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from tdbwatch.testing import Program, free_port, program_path

Ask = Callable[[Callable[[JetStreamContext], Awaitable[Any]]], Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder, port = tmp_path_factory.mktemp("nats"), free_port()
    command = [program_path("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)]
    with Program(command, port, folder) as server:
        yield server


@pytest.fixture
def ask(server: Program) -> Ask:
    """Asks JetStream."""

    def ask(question: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            client = await nats.connect(f"nats://127.0.0.1:{server.port}")
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    return ask


@pytest.fixture
def stream(ask: Ask) -> Iterator[str]:
    """An empty stream."""
    ask(lambda js: js.add_stream(name="EVENTS", subjects=["tdbwatch.>"]))
    yield "EVENTS"
    ask(lambda js: js.delete_stream("EVENTS"))
