"""The exec sink: batches to runs of a program, exit codes to outcomes."""

import errno
import os
from collections.abc import Iterable, Sequence
from typing import Final

from tdbwatch.plugin import (
    DELIVERED,
    Event,
    Outcome,
    Rejected,
    Retry,
    Sink,
    TemplateError,
    sink,
    trace_headers,
)
from tdbwatch.redaction import Redactor
from tdbwatch.sinks.exec.options import ExecOptions
from tdbwatch.sinks.exec.process import Result, run

_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
_SOON: Final = 1.0
_INHERITED: Final = ("PATH", "HOME", "LANG", "TZ")


@sink("exec")
class ExecSink(Sink):
    """Runs a program with the record on its standard input."""

    Options = ExecOptions

    async def deliver(self, batch: Sequence[Event]) -> Outcome | Sequence[Outcome]:
        if self.options.mode == "batch":
            return await self._run(batch)
        last_begin = self.context.clock.monotonic() + self.options.timeout - self.options.deadline
        outcomes: list[Outcome] = []
        for event in batch:
            outcomes.append(await self._run([event]))
            if isinstance(outcomes[-1], Retry) or self.context.clock.monotonic() >= last_begin:
                break  # order is kept, and the rest has a time of its own in the next call
        return outcomes

    async def _run(self, events: Sequence[Event]) -> Outcome:
        program = self.options.command[0].source
        try:
            command = [part.render(events[0]).replace("\0", "") for part in self.options.command]
        except TemplateError as error:
            return Rejected(f"its templates fail for this event: {error}")
        own = {name: value.get_secret_value() for name, value in self.options.env.items()}
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        trace = {name.upper(): value for name, value in trace_headers().items()}
        try:
            result = await run(
                command,
                b"".join(event.json() + b"\n" for event in events),
                cwd=str(self.options.cwd),
                env=inherited | trace | own,
                deadline=self.options.deadline,
                keep=self.options.output,
            )
        except TimeoutError:  # an OSError too, so it comes first
            return Retry(f"{program} did not end within {self.options.deadline:g} s and was ended")
        except OSError as error:
            return self._not_run(program, error)
        return self._judge(program, result, own.values())

    def _not_run(self, program: str, error: OSError) -> Outcome:
        if error.errno == errno.E2BIG and not all(part.is_constant for part in self.options.command):
            return Rejected("its templates make arguments of it that are too long for a program")
        if error.errno in _NO_DESCRIPTOR:  # nothing of the events: it costs them no attempt
            return Retry(f"{program} cannot be run: {error.strerror}", after=_SOON, pause=True)
        return Retry(f"{program} cannot be run: {error.strerror} ({error.filename})")

    def _judge(self, program: str, result: Result, secrets: Iterable[str]) -> Outcome:
        if result.code == 0:
            return DELIVERED
        how = f"exit code {result.code}" if result.code > 0 else f"ended by signal {-result.code}"
        said = _redacted(result.output, secrets)
        reason = f"{program}: {how}" + (f": {said}" if said else "")
        return Rejected(reason) if result.code in self.options.rejected else Retry(reason)


def _redacted(output: bytes, secrets: Iterable[str]) -> str:
    """The program's output without the secrets that it was given."""
    redact = Redactor()
    redact.remember(secrets)
    return redact(output.decode("utf-8", "replace").strip())
