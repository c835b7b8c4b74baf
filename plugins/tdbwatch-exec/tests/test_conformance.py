"""The sink does what the daemon expects of every sink."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tdbwatch.plugin import Event
from tdbwatch.testing import SinkConformance, make_event

from tdbwatch_exec import ExecSink

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
