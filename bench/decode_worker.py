"""Bare loops over the same bodies: what decoding alone costs, with each decoder."""

import time
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import ormsgpack

from bench.measure import options, ready, report
from bench.stream import bodies
from tdbwatch.wire import Emit, RawEmit

DECODERS: dict[str, Callable[[bytes], Any]] = {
    "msgpack": msgpack.unpackb,
    "ormsgpack": ormsgpack.unpackb,
    "msgspec": msgspec.msgpack.Decoder().decode,
    "msgspec, to Emit": msgspec.msgpack.Decoder(Emit).decode,
    "msgspec, to RawEmit": msgspec.msgpack.Decoder(RawEmit).decode,
}


def seconds_of(decode: Callable[[bytes], Any], data: list[bytes]) -> float:
    """CPU time of decoding all of it."""
    started = time.process_time()
    for body in data:
        decode(body)
    return time.process_time() - started


def main() -> None:
    data = bodies(options()["count"])
    ready()
    report(**{name: seconds_of(decode, data) / len(data) for name, decode in DECODERS.items()})


if __name__ == "__main__":
    main()
