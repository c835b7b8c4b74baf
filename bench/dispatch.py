"""Events from the socket to `@event` handlers: this client, python-thingsdb, and bare decode loops."""

from functools import partial

from bench.contestants import NAMES
from bench.plan import Plan
from bench.processes import server, work
from bench.table import Row

Best = dict[str, float]


def run(plan: Plan) -> list[Row]:
    """The rates, what they cost, and how far they are from decoding alone."""
    wall: Best = {}
    cpu: Best = {}
    decode: Best = {}
    with server() as source:
        for _ in range(plan.rounds):
            for name in NAMES:
                count = plan.blast if name == "tdbwatch" else plan.blast // 4
                blast = partial(source.blast, count)
                found = work("bench.blast_worker", blast, name=name, port=source.port)
                keep_least(wall, name, found["wall"] / count)
                keep_least(cpu, name, found["cpu"] / count)
            for decoder, seconds in work("bench.decode_worker", count=plan.decode).items():
                keep_least(decode, decoder, seconds)
    return [*_rates(wall, cpu, decode), *_decoders(decode)]


def keep_least(best: Best, name: str, value: float) -> None:
    """The least disturbed round counts."""
    best[name] = min(value, best.get(name, value))


def _rates(wall: Best, cpu: Best, decode: Best) -> list[Row]:
    theirs, ours = NAMES
    bare, plain = decode["msgspec, to Emit"], decode["msgspec"]
    return [
        *(Row("dispatch", name, 1 / wall[name], "events/s") for name in NAMES),
        Row("dispatch", "ratio", wall[theirs] / wall[ours], "times", ">= 5"),
        *(Row("dispatch", f"CPU, {name}", cpu[name] * 1e6, "us/event") for name in NAMES),
        Row("dispatch", "ratio of CPU time", cpu[theirs] / cpu[ours], "times"),
        Row("dispatch", "of a bare loop, same decoder", 100 * bare / cpu[ours], "%", ">= 50"),
        Row("dispatch", "of a bare loop, to plain values", 100 * plain / cpu[ours], "%"),
    ]


def _decoders(decode: Best) -> list[Row]:
    return [Row("decode", name, seconds * 1e9, "ns/event") for name, seconds in decode.items()]
