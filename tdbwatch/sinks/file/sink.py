"""The file sink: batches to files."""

import asyncio
import errno
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from tdbwatch.descriptors import REMEDY, SHORT, SOON, reserve
from tdbwatch.plugin import DELIVERED, Event, Outcome, Retry, Sink, SinkContext, sink
from tdbwatch.plugin.batch import headers, json_lines
from tdbwatch.sinks.file.appender import Appender
from tdbwatch.sinks.file.budget import budget
from tdbwatch.sinks.file.names import PathTemplate
from tdbwatch.sinks.file.options import FileOptions
from tdbwatch.sinks.file.rotation import is_due, set_aside
from tdbwatch.sinks.file.tidier import Tidier

_CALL_SECONDS: Final = 1.0
_FEW_WAITS: Final = 64
"""Waits for a disk of which nothing is known; a slow one takes some 20 ms for each."""

_MAX_MOVES: Final = 3
"""Times in a row that a file may be moved away just as it is written to: a bound, lest it never ends."""

_REMEDIES: Final = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "raise the quota",
    errno.EACCES: "let the user that tdbwatch runs as write there",
    errno.EPERM: "let the user that tdbwatch runs as write there",
    errno.EROFS: "mount it writable",
    **dict.fromkeys(SHORT, REMEDY),
    errno.EAGAIN: "give each sink a path of its own",
}


@sink("file", batch_count=10_000, batch_bytes=8_000_000)  # a batch waits for the disk once, whatever its size
class FileSink(Sink):
    """Appends each event's record to a file, one a line."""

    # Runs in a thread of its own, as users' sinks do: a disk may block for as long as it likes.

    Options = FileOptions

    def __init__(self, options: FileOptions, context: SinkContext) -> None:
        super().__init__(options, context)
        self._template = PathTemplate(options.path)
        self._rotate = options.rotate
        self._sync = options.fsync != "never"
        self._one_by_one = options.fsync == "always"
        self._max_waits = _FEW_WAITS
        self._open_files: OrderedDict[str, Appender] = OrderedDict()
        self._tidier = Tidier(context.name, options.rotate, context.log) if options.rotate else None
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        budget.join()

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        reserve.givers.add(self._asked)

    async def deliver(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        """Whatever is left after a while waits for the next call, which has the whole `timeout` again.

        Otherwise a slow disk and many files would never get to the end of a batch, only to its deadline.
        """
        until = self.context.clock.monotonic() + _CALL_SECONDS
        outcomes: list[Outcome] = []
        self._close_oldest(keep=budget.share())
        lines = json_lines(batch)
        for part in self._parts(batch):
            begin = self.context.clock.monotonic()
            failed = self._write_part(lines, part, outcomes)
            now = self.context.clock.monotonic()
            if failed:
                break  # what comes later in its room may not overtake
            self._learn(part, now - begin)
            if now >= until:
                break
        return outcomes

    def _learn(self, part: Mapping[str, Sequence[int]], seconds: float) -> None:
        """How often the disk can be waited for within a call: the fewer parts, the fewer waits in all."""
        waits = sum(map(len, part.values())) if self._one_by_one else len(part)
        self._max_waits = max(_FEW_WAITS, int(waits * _CALL_SECONDS / max(seconds, 1e-6)))

    def _parts(self, batch: Sequence[Event]) -> Iterator[Mapping[str, Sequence[int]]]:
        """The batch in parts that the disk has time for, each: where in the batch each file's events are."""
        if batch and (path := self._template.fixed) is not None and not self._one_by_one:
            yield {path: range(len(batch))}
            return
        part: dict[str, list[int]] = {}
        waits = 0
        last, path = None, ""
        for index, header in enumerate(headers(batch)):
            if header is not last:
                last, path = header, self._template.render(header)
            if self._one_by_one or path not in part:
                if waits >= self._max_waits:
                    yield part
                    part, waits = {}, 0
                waits += 1
            part.setdefault(path, []).append(index)
        yield part

    def _write_part(
        self, lines: list[bytes], part: Mapping[str, Sequence[int]], outcomes: list[Outcome]
    ) -> bool:
        """Add the outcomes of a part, the next one, to `outcomes`; whether any of it failed."""
        outcomes += [DELIVERED] * sum(map(len, part.values()))
        failed = False
        for path, indexes in part.items():
            whole = len(indexes) == len(lines)
            written, failure = self._write(path, lines if whole else [lines[index] for index in indexes])
            if failure is not None:
                failed = True
                for index in indexes[written:]:
                    outcomes[index] = failure
        return failed

    async def close(self) -> None:
        self._close_oldest(keep=0)
        if not self._closed:
            self._closed = True
            reserve.givers.discard(self._asked)
            budget.leave()
        if self._tidier is not None:
            self._tidier.close()

    def _write(self, path: str, lines: list[bytes]) -> tuple[int, Retry | None]:
        """How many of `lines` are in the file now, and why not all of them."""
        done = 0
        try:
            while done < len(lines):
                now = self.context.clock.time()
                file = self._ready(path, len(lines[done]) + 1, now)
                end = done + self._fitting(file, lines, done)
                self._append(file, b"\n".join([*lines[done:end], b""]), now)
                done = end
        except OSError as error:
            self._forget(path)
            short = error.errno in SHORT  # which is nothing of the events: it costs them no attempt
            return done, Retry(_reason(path, error), SOON if short else None, pause=short)
        return done, None

    def _fitting(self, file: Appender, lines: list[bytes], begin: int) -> int:
        """How many of `lines`, from `begin` on, are to be written and synced together: at least one."""
        if self._one_by_one:
            return 1
        limit = self._rotate.size if self._rotate is not None else None
        if limit is None:
            return len(lines) - begin
        room = limit - file.size
        for end in range(begin, len(lines)):
            room -= len(lines[end]) + 1
            if room < 0:
                return max(1, end - begin)
        return len(lines) - begin

    def _append(self, file: Appender, data: bytes, now: float) -> None:
        """Write `data`; into the new file too if this one was moved away meanwhile.

        Whoever moved it may have read it already, to compress it. Twice is better than never.
        """
        file.append(data, now, sync=self._sync)
        for _ in range(_MAX_MOVES):
            if file.is_current():
                return
            file = self._reopen(file.path)
            file.append(data, now, sync=self._sync)

    def _ready(self, path: str, incoming: int, now: float) -> Appender:
        """The open file of `path`, with room for `incoming` bytes."""
        file = self._open_files.get(path)
        if file is None or not file.is_current():
            file = self._reopen(path)
        self._open_files.move_to_end(path)
        if self._rotate is not None and is_due(self._rotate, file, incoming, now):
            set_aside(path, now)
            file = self._reopen(path)
            if self._tidier is not None:
                self._tidier.submit(path)
        return file

    def _reopen(self, path: str) -> Appender:
        self._forget(path)
        self._close_oldest(keep=budget.share() - 1)
        file = self._open_files[path] = self._open(path)
        if file.repaired:
            self.context.log.warning("file.torn_line_cut", path=path, bytes=file.repaired)
        return file

    def _open(self, path: str) -> Appender:
        try:
            return Appender(path, durable=self._sync)
        except OSError as error:
            if error.errno not in SHORT or not self._open_files:
                raise
        self._close_oldest(keep=0)  # others took what should be left: make space, and not only for this one
        return Appender(path, durable=self._sync)

    def _asked(self) -> None:
        """To give descriptors back, by another thread."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(lambda: self._close_oldest(keep=0))

    def _close_oldest(self, keep: int) -> None:
        while len(self._open_files) > keep:
            self._open_files.popitem(last=False)[1].close()

    def _forget(self, path: str) -> None:
        file = self._open_files.pop(path, None)
        if file is not None:
            file.close()


def _reason(path: str, error: OSError) -> str:
    remedy = _REMEDIES.get(error.errno or 0)
    text = f"{path}: {error.strerror or error}"
    return f"{text}; {remedy}" if remedy else text
