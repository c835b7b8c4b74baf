"""Sinks that are broken on purpose, each in one way, and one that is not."""

import asyncio
import itertools
import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from tdbwatch.plugin import DELIVERED, Event, Outcome, Rejected, Retry, Sink

from .destination import Destination

there = Destination()


async def answer() -> None:
    """Until the destination answers."""
    while not there.answers.is_set():
        await asyncio.sleep(0.005)


class Good(Sink):
    """Does all as it should be done."""

    async def deliver(self, batch: Sequence[Event]) -> Any:
        outcomes: list[Outcome] = []
        for event in batch:
            await answer()
            outcomes.append(await self.send(event))
            if isinstance(outcomes[-1], Retry):
                break
        return outcomes

    async def send(self, event: Event) -> Outcome:
        try:
            there.called()
            there.put(event.id, event.event)
        except ValueError as error:
            return Rejected(str(error))
        except ConnectionError as error:
            return Retry(str(error))
        await asyncio.sleep(0)
        return DELIVERED


class Blocks(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        there.answers.wait(20)
        return await super().deliver(batch)


class SwallowsCancellation(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        while not there.answers.is_set():
            with suppress(BaseException):
                await answer()
        return await super().deliver(batch)


class HangsWhenCancelled(Good):
    async def send(self, event: Event) -> Outcome:
        try:
            return await super().send(event)
        except asyncio.CancelledError:
            await asyncio.Event().wait()
            raise


class LeaksTask(Good):
    async def open(self) -> None:
        self.polling = asyncio.create_task(self.poll())

    async def poll(self) -> None:
        await asyncio.Event().wait()


class LeaksThread(Good):
    ends = threading.Event()

    async def open(self) -> None:
        threading.Thread(target=self.ends.wait, args=(20,), name="poller", daemon=True).start()


class LeaksDescriptor(Good):
    opened: list[int] = []  # noqa: RUF012

    async def open(self) -> None:
        self.opened.append(os.open(os.devnull, os.O_RDONLY))


class LeaksProcess(Good):
    started: list[subprocess.Popen[bytes]] = []  # noqa: RUF012

    async def open(self) -> None:
        self.started.append(subprocess.Popen(["sleep", "20"]))


class LeaksWhenCancelled(Good):
    opened: list[int] = []  # noqa: RUF012

    async def send(self, event: Event) -> Outcome:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self.opened.append(descriptor)
        outcome = await super().send(event)
        os.close(descriptor)
        return outcome


class AnswersTooMuch(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        return [*await super().deliver(batch), DELIVERED]


class AnswersTrue(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        await super().deliver(batch)
        return True


class RaisesInClose(Good):
    async def open(self) -> None:
        self.connection = asyncio.Event()

    async def close(self) -> None:
        self.connection.set()


class RaisesAlwaysInClose(Good):
    async def close(self) -> None:
        raise RuntimeError("it is closed already")


class HangsInClose(Good):
    async def close(self) -> None:
        await asyncio.Event().wait()


class Reverses(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        return await super().deliver(batch[::-1])


class ChangesTheList(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        assert isinstance(batch, list)
        while batch:
            await self.send(batch.pop(0))


class SharesItsBatch(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        self.batch = batch
        await answer()
        await asyncio.sleep(0.01)
        return await super().deliver(self.batch)


class RefusesTwo(Good):
    busy = False

    async def deliver(self, batch: Sequence[Event]) -> Any:
        if self.busy:
            raise RuntimeError("another read is under way")
        self.busy = True
        try:
            await asyncio.sleep(0.1)  # so long that the others come
            return await super().deliver(batch)
        finally:
            self.busy = False


class ForgetsAtOpen(Good):
    async def open(self) -> None:
        there.ids.clear()


class Buffers(Good):
    def __init__(self, options: Any, context: Any) -> None:
        super().__init__(options, context)
        self.buffer: list[Event] = []

    async def deliver(self, batch: Sequence[Event]) -> Any:
        self.buffer += batch

    async def close(self) -> None:
        await super().deliver(self.buffer)


class RejectsFailures(Good):
    async def send(self, event: Event) -> Outcome:
        outcome = await super().send(event)
        return Rejected(outcome.reason) if isinstance(outcome, Retry) else outcome


class HidesFailures(Good):
    async def send(self, event: Event) -> Outcome:
        await super().send(event)
        return DELIVERED


class NumbersThemItself(Good):
    numbers = itertools.count()

    async def send(self, event: Event) -> Outcome:
        return await super().send(msgspec.structs.replace(event, id=f"{event.id}/{next(self.numbers)}"))


class GoesOnAfterFailures(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        outcomes = []
        for event in batch:
            outcomes.append(await self.send(event))
            if isinstance(outcomes[-1], Retry):
                there.is_back()  # it was only a hiccup
        return outcomes


class RejectsThemAll(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        outcomes = await super().deliver(batch)
        return next((one for one in outcomes if isinstance(one, Rejected)), outcomes)


class RaisesForOne(Good):
    async def send(self, event: Event) -> Outcome:
        assert event.args[0] is not None
        return await super().send(event)


class KeepsTheLock(Good):
    async def open(self) -> None:
        self.lock = asyncio.Lock()

    async def send(self, event: Event) -> Outcome:
        await self.lock.acquire()
        outcome = await super().send(event)
        self.lock.release()
        return outcome


class KnowsEachId(Good):
    async def send(self, event: Event) -> Outcome:
        if event.id in there.ids:
            return Retry("duplicate key")
        return await super().send(event)


class DoesNotWait(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        return [await self.send(event) for event in batch]


class Exits(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        raise SystemExit(1)


class NeverOpens(Good):
    async def open(self) -> None:
        raise ConnectionRefusedError("wrong port")


class LeavesAllOut(Good):
    async def deliver(self, batch: Sequence[Event]) -> Any:
        return []
