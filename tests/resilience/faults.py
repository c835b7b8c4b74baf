"""What is done to a node, or to the network in front of it. Each ends with everything being well again."""

from collections.abc import Awaitable, Callable
from typing import Final

from .world import World

Fault = Callable[[World, int, float], Awaitable[None]]
"""Hurts the node of this number for so many seconds."""


async def shutdown(world: World, number: int, seconds: float) -> None:
    """SIGTERM, and a start when it is down."""
    await world.nodes[number].shutdown()
    await world.clock.sleep(seconds)
    await world.nodes[number].start()


async def crash(world: World, number: int, seconds: float) -> None:
    """SIGKILL."""
    await world.nodes[number].stop()
    await world.clock.sleep(seconds)
    await world.nodes[number].start()


async def freeze(world: World, number: int, seconds: float) -> None:
    """SIGSTOP, then SIGCONT."""
    world.nodes[number].faults.freeze()
    await world.clock.sleep(seconds)
    world.nodes[number].faults.thaw()


async def cut(world: World, number: int, seconds: float) -> None:
    """Bytes vanish on both ways; nobody is told."""
    await _cut(world, number, seconds)


async def cut_up(world: World, number: int, seconds: float) -> None:
    """Bytes to the node vanish: events still come, answers do not."""
    await _cut(world, number, seconds, "up")


async def cut_down(world: World, number: int, seconds: float) -> None:
    """Bytes from the node vanish, which takes all that we say."""
    await _cut(world, number, seconds, "down")


async def slow(world: World, number: int, seconds: float) -> None:
    """Bytes take half a second each way."""
    world.proxies[number].delay = 0.5
    await world.clock.sleep(seconds)
    world.proxies[number].delay = 0.0


async def reset(world: World, number: int, seconds: float) -> None:
    """Every connection is reset, and new ones are for a while."""
    world.proxies[number].reset()
    world.proxies[number].refusing = True
    await world.clock.sleep(seconds)
    world.proxies[number].refusing = False


async def away(world: World, number: int, seconds: float) -> None:
    """A node's turn to be away, which harms nobody."""
    node = world.nodes[number]
    node.away_soon()
    await world.clock.sleep(seconds / 2)
    node.away()
    await world.clock.sleep(seconds / 2)
    node.ready()


async def synchronize(world: World, number: int, seconds: float) -> None:
    """JOIN and EMIT are refused; emits are heard."""
    world.nodes[number].synchronizing()
    await world.clock.sleep(seconds)
    world.nodes[number].ready()


async def deafen(world: World, number: int, seconds: float) -> None:
    """The socket lives, and nothing is delivered."""
    world.nodes[number].faults.deaf = True
    await world.clock.sleep(seconds)
    world.nodes[number].faults.deaf = False


async def _cut(world: World, number: int, seconds: float, *ways: str) -> None:
    world.proxies[number].cut(*ways)
    await world.clock.sleep(seconds)
    world.proxies[number].heal()


TOLD: Final[tuple[Fault, ...]] = (
    shutdown,
    crash,
    freeze,
    cut,
    cut_up,
    cut_down,
    slow,
    reset,
    away,
    synchronize,
)
"""Those that a connector can notice, or that are harmless."""
ALL: Final[tuple[Fault, ...]] = (*TOLD, deafen)
