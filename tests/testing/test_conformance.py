"""The sinks here conform: each is put through the kit as an author would do it."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tdbwatch import exceptions as errors
from tdbwatch.plugin import Event, hookimpl
from tdbwatch.sinks.exec import ExecSink
from tdbwatch.sinks.file import FileSink
from tdbwatch.sinks.log import LogSink
from tdbwatch.sinks.thingsdb import ThingsDBOptions, ThingsDBSink
from tdbwatch.sinks.webhook import WebhookSink
from tdbwatch.testing import EmbeddedNode, SinkConformance, make_event
from tdbwatch.testing.background import BackgroundLoop

from .destination import Destination
from .endpoint import serving

PROGRAM = """\
record=$(cat)
while test -e stalled; do sleep 0.01; done
case $record in *'"event":"poison"'*) exit 65;; esac
if test -e takes; then
  read -r takes < takes
  test "$takes" -gt 0 || exit 75
  echo $((takes - 1)) > takes
fi
printf '%s\\n' "$record" >> delivered
"""


class TestLog(SinkConformance):
    sink = LogSink

    @pytest.fixture(autouse=True)
    def _lines(self) -> Iterator[None]:
        with capture_logs() as lines:
            self.lines = lines
            yield

    def delivered(self) -> Sequence[str]:
        return [line["event_id"] for line in self.lines if "event_id" in line]


class TestFile(SinkConformance):
    sink = FileSink

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "out"
        self.options = {"path": str(self.folder / "events.jsonl")}

    def delivered(self) -> Sequence[str]:
        file = self.folder / "events.jsonl"
        return [json.loads(line)["id"] for line in file.read_text().splitlines()] if file.exists() else []

    @contextmanager
    def failing(self, after: int) -> Iterator[None]:
        """A folder that is a file cannot hold one."""
        self.folder.write_text("")
        yield
        self.folder.unlink()


class TestWebhook(SinkConformance):
    sink = WebhookSink

    @pytest.fixture(autouse=True)
    def _endpoint(self) -> Iterator[None]:
        with serving() as (url, self.endpoint):
            self.options = {"url": url, "timeout": "5s"}
            yield

    def delivered(self) -> Sequence[str]:
        return self.endpoint.ids

    def failing(self, after: int) -> AbstractContextManager[None]:
        return self.endpoint.failing(after)

    def stalled(self) -> AbstractContextManager[None]:
        return self.endpoint.stalled()

    def poison(self) -> Event:
        return make_event("alerts", "poison")


class TestExec(SinkConformance):
    sink = ExecSink

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.options = {"command": ["sh", "-c", PROGRAM], "cwd": str(tmp_path)}

    def delivered(self) -> Sequence[str]:
        file = self.folder / "delivered"
        return [json.loads(line)["id"] for line in file.read_text().splitlines()] if file.exists() else []

    @contextmanager
    def failing(self, after: int) -> Iterator[None]:
        takes = self.folder / "takes"
        takes.write_text(f"{after}\n")
        try:
            yield
        finally:
            takes.unlink()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        flag = self.folder / "stalled"
        flag.touch()
        try:
            yield
        finally:
            flag.unlink()

    def poison(self) -> Event:
        return make_event("alerts", "poison")


class TestThingsDB(SinkConformance):
    sink = ThingsDBSink
    options = ThingsDBOptions(procedure="note")  # run in the daemon in tests/sinks/test_thingsdb.py

    @pytest.fixture(autouse=True)
    def _node(self) -> Iterator[None]:
        self.there = Destination()
        with BackgroundLoop() as background:
            node = EmbeddedNode(background)
            node.call(lambda cluster: cluster.on_procedure("note", self._note))
            self.client = node.client()
            yield
            node.stop()

    async def _note(self, record: dict[str, Any]) -> None:
        while not self.there.answers.is_set():
            await asyncio.sleep(0.01)
        try:
            self.there.called()
            self.there.put(record["id"], record["event"])
        except ConnectionError:
            raise errors.MaxQuotaError("no more today") from None
        except ValueError:
            raise errors.OperationError("not this one") from None

    def delivered(self) -> Sequence[str]:
        return self.there.ids

    def failing(self, after: int) -> AbstractContextManager[None]:
        return self.there.failing(after)

    def stalled(self) -> AbstractContextManager[None]:
        return self.there.stalled()

    def poison(self) -> Event:
        return make_event("alerts", "poison")


class TestHook(SinkConformance):
    heard: list[str] = []  # noqa: RUF012

    @hookimpl
    def tdbwatch_event(event: Event) -> None:  # type: ignore[misc]
        TestHook.heard.append(event.id)

    sink = tdbwatch_event

    def delivered(self) -> Sequence[str]:
        return self.heard


class TestHooks(SinkConformance):
    """A plugin with a hook for batches and one for gaps."""

    heard: list[str] = []  # noqa: RUF012

    @staticmethod
    @hookimpl
    def hear(batch: Sequence[Event]) -> None:
        TestHooks.heard += [event.id for event in batch]

    sink = SimpleNamespace(tdbwatch_events=hear.__func__)  # type: ignore[attr-defined]

    def delivered(self) -> Sequence[str]:
        return self.heard
