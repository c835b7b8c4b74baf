"""The embedded node as a small ThingsDB: it answers the few sentences of code that the programs say."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, Final

from tdbwatch import exceptions as errors
from tdbwatch.node import Cluster

SCOPE: Final = "//stuff"
SECONDS: Final = 0.7
"""What the slow sentence takes."""


class World:
    """What the programs find: the collection `stuff` with its room, its number and its procedure."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.number = 0
        cluster.add_room(SCOPE, "chat")
        cluster.on_procedure("add", lambda a, b: a + b)
        for pattern, answer in self._sentences().items():
            self._teach(re.compile(pattern), answer)

    def _sentences(self) -> dict[str, Callable[..., Any]]:
        """Answers, each called with the pattern's groups and the query's variables."""
        return {
            r"(\d+) \+ (\d+);": lambda a, b: int(a) + int(b),
            r'"(.*)";': lambda text: text,
            r"nil;": lambda: None,
            r"x;": lambda x: x,
            r"\.n;": lambda: self.number,
            r"\.n \+= 1; nil;": self.count,
            r'\.n \+= 1; \.chat\.emit\("now", \.n\);': self.count_and_tell,
            r"range\(\d+\)\.each\(\|\| .*": lambda: asyncio.sleep(SECONDS),
            r"\.(\w+) = room\(\); .*": lambda name: self.cluster.add_room(SCOPE, name),
            r"\.(\w+)\.id\(\);": self.room_id,
            r"room\((?:name|id)\)\.id\(\);": lambda **key: self.room_id(*key.values()),
            r'\.del\("(\w+)"\); nil;': lambda name: self.cluster.delete_room(SCOPE, name),
            r'\.(\w+)\.emit\("(\w+)"(?:, )?(.*)\);': self.emit,
            r'range\((\d+)\)\.each\(\|i\| \.(\w+)\.emit\("(\w+)", i\)\);': self.emit_numbers,
            r"1 / 0;": lambda: fail(errors.ErrorCode.ZERO_DIV, "division or modulo by zero"),
            r'raise\(err\((-?\d+), "(.*)"\)\);': fail,
        }

    def _teach(self, pattern: re.Pattern[str], answer: Callable[..., Any]) -> None:
        def give(_scope: str, code: str, variables: dict[str, Any]) -> Any:
            found = pattern.fullmatch(code.strip())
            assert found is not None
            return answer(*found.groups(), **variables)

        self.cluster.on_query(pattern, give)

    def count(self) -> None:
        self.number += 1

    def count_and_tell(self) -> None:
        self.count()
        self.cluster.emit(SCOPE, "chat", "now", self.number)

    def room_id(self, name: str | int) -> int:
        return self.cluster.collection("stuff").room(name).id

    def emit(self, name: str, event: str, arguments: str) -> None:
        self.cluster.emit(SCOPE, name, event, *json.loads(f"[{arguments}]"))

    def emit_numbers(self, count: str, name: str, event: str) -> None:
        for number in range(int(count)):
            self.cluster.emit(SCOPE, name, event, number)


def fail(code: int | str, message: str) -> Any:
    raise errors.from_wire({"error_code": int(code), "error_msg": message})
