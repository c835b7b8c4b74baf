"""A sink's own thread ends in order, whenever it is told to."""

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from tdbwatch.daemon.hosting.sink_thread import Call, LoopThread, SinkExitError


async def test_one_that_is_stopped_before_it_began_ends_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may start it that late."""
    begins, run = threading.Event(), LoopThread._run

    def late(self: LoopThread) -> None:
        begins.wait(20)
        run(self)

    monkeypatch.setattr(LoopThread, "_run", late)
    with capture_logs() as said:
        thread = LoopThread("late")
        call = Call(asyncio.Event().wait, thread)
        stopping = asyncio.create_task(thread.stop())
        await asyncio.sleep(0)
        begins.set()
        async with asyncio.timeout(20):
            await stopping
            await call.ended
    assert isinstance(call.result.exception(), SinkExitError)
    assert said == []
