"""Any bytes through a link with calls outstanding and rooms to join: the coverage-guided tests.

    pip install atheris
    python tests/fuzz/link_bytes.py tests/fuzz/corpus -max_total_time=60

What it finds is kept in `corpus`, which `test_corpus.py` replays without atheris. New inputs go to the first
folder that is named; copy into `corpus` what is worth it.
"""

import asyncio
import logging
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import contextlib


def input_to_stream(data):
    """The first byte chooses: bytes as they are, or frames with right headers, so that bodies are reached."""
    if not data or data[0] & 1:
        return data[1:]
    from tdbwatch.wire import encode_frame

    stream, rest = b"", data[1:]
    while len(rest) >= 3:
        frame_id, kind, length = rest[0], rest[1] & 0x3F, rest[2]
        stream += encode_frame(0xFFFF if frame_id == 255 else frame_id, kind, rest[3 : 3 + length])
        rest = rest[3 + length :]
    return stream


class _Wire:
    aborted = False

    def write(self, data): ...

    def backlog(self):
        return 0

    def close(self):
        self.aborted = True

    abort = close


class _Owner:
    """A keeper's share: pushes go to a joiner."""

    joiner = None

    def link_lost(self, link, reason):
        self.joiner.stop(str(reason))

    def link_leaving(self, link):
        self.joiner.rooms.leaving("shutting down")

    def emit_lost(self, link): ...

    def push_heard(self, link, push):
        self.joiner.push_heard(push)


class _Listener:
    def __getattr__(self, name):
        if name.startswith("room_") or name == "deliver":
            return lambda *args: None
        raise AttributeError(name)


async def scenario(data):
    from tdbwatch.client.addresses import Address
    from tdbwatch.client.links.heartbeat import Heartbeat
    from tdbwatch.client.links.link import Link
    from tdbwatch.client.links.old_servers import Group
    from tdbwatch.client.rooms.joiner import Joiner
    from tdbwatch.client.rooms.subscriptions import Subscription
    from tdbwatch.exceptions import ConnectionLostError, ProtocolError
    from tdbwatch.testing import ManualClock
    from tdbwatch.wire import Kind

    owner, clock = _Owner(), ManualClock()
    options = data[0] if data else 0
    link = Link(Address("tcp", "fuzz"), owner, clock, Heartbeat(), raw_events=bool(options & 2))
    link._opened(_Wire())
    rooms = ["alerts", 3, ".code();"] if options & 4 else ["alerts"]
    scopes = ["//stuff", "//ops"] if options & 8 else ["//stuff"]
    wanted = [Subscription(key, scope, _Listener()) for key in rooms for scope in scopes]
    owner.joiner = Joiner(
        link, Group(wanted, lambda: None), clock, random.Random(0), merging=bool(options & 16)
    )
    calls = [link.call(kind, None, timeout=None) for kind in (Kind.QUERY, Kind.AUTH, Kind.EMIT)]
    joining = asyncio.ensure_future(owner.joiner.join_all())
    stream = input_to_stream(data)
    size = max(1, len(stream) // (1 + options // 32))
    for start in range(0, len(stream), size):
        link.data_received(stream[start : start + size])
        for _ in range(4):
            await asyncio.sleep(0)
    if not link.is_live:
        assert isinstance(link.loss, ProtocolError), link.loss
    else:
        link.abort(ConnectionLostError("the end of the input"))
    assert all(call.done() for call in calls)
    await asyncio.wait([joining], timeout=5)
    joining.result()
    for _ in range(4):
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, left


def one_input(data):
    """Raises if the link, its calls or its rooms do anything that they should not."""
    logging.disable(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    trouble = []
    loop.set_exception_handler(lambda _, context: trouble.append(context))
    try:
        loop.run_until_complete(scenario(data))
    finally:
        loop.close()
        logging.disable(logging.NOTSET)
    assert not trouble, trouble


def main():
    import atheris

    with atheris.instrument_imports(include=["tdbwatch"]), contextlib.suppress(ImportError):
        import tdbwatch.client.links.link
        import tdbwatch.client.rooms.joiner
        import tdbwatch.client.rooms.strays
        import tdbwatch.testing  # noqa: F401 - all that is to be covered

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
