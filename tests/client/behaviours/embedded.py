"""The embedded node as a small ThingsDB: it answers the few sentences of code that the table's programs say."""

import asyncio
import json
import re
from typing import Any

from tdbwatch import exceptions as errors
from tdbwatch.node import Cluster

SCOPE = "//stuff"


def teach(cluster: Cluster) -> None:
    """Make the room `chat` in `//stuff`, and answer the sentences."""
    number = 0

    def sentence(pattern: str, answer: Any) -> None:
        compiled = re.compile(pattern)

        def give(scope: str, code: str, variables: dict[str, Any]) -> Any:
            found = compiled.fullmatch(code.strip())
            assert found is not None
            return answer(*found.groups(), **variables)

        cluster.on_query(compiled, give)

    def make(name: str) -> None:
        cluster.add_room(SCOPE, name)

    def emit(name: str, event: str, arguments: str) -> None:
        cluster.emit(SCOPE, name, event, *json.loads(f"[{arguments}]"))

    def emit_many(count: str, name: str, event: str) -> None:
        for number in range(int(count)):
            cluster.emit(SCOPE, name, event, number)

    def add_one() -> None:
        nonlocal number
        number += 1

    def room_id(name: str) -> int:
        return cluster.collection("stuff").room(name).id

    def fail(error: errors.ThingsDBError) -> Any:
        raise error

    def number_error(message: str, code: str) -> Any:
        raise errors.from_wire({"error_code": int(code), "error_msg": message})

    make("chat")
    sentence(r"(\d+) \+ (\d+);", lambda a, b: int(a) + int(b))
    sentence(r'"(.*)";', lambda text: text)
    sentence(r"nil;", lambda: None)
    sentence(r"x;", lambda x: x)
    sentence(r"\.(\w+) = room\(\); \.\w+\.set_name\(\"\w+\"\); nil;", make)
    sentence(r"\.(\w+)\.id\(\);", room_id)
    sentence(r"room\(name\)\.id\(\);", lambda name: room_id(name))
    sentence(r"\.del\(\"(\w+)\"\); nil;", lambda name: cluster.delete_room(SCOPE, name))
    sentence(r"\.(\w+)\.emit\(\"(\w+)\"(?:, )?(.*)\);", emit)
    sentence(r"range\((\d+)\)\.each\(\|i\| \.(\w+)\.emit\(\"(\w+)\", i\)\);", emit_many)
    sentence(r"\.n \+= 1; nil;", add_one)
    sentence(r"\.n;", lambda: number)
    sentence(
        r"range\(\d+\)\.each\(\|\| range\(\d+\)\.reduce\(\|a, b\| a \+ b\)\);", lambda: asyncio.sleep(0.7)
    )
    cluster.on_procedure("add", lambda a, b: a + b)
    sentence(r"1 / 0;", lambda: fail(errors.ZeroDivisionError("division or modulo by zero")))
    sentence(r"raise\(err\((-?\d+), \"(.*)\"\)\);", lambda code, message: number_error(message, code))
