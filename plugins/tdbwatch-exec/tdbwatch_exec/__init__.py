"""A tdbwatch sink that runs a program for each event, or for each batch."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator, model_validator
from tdbwatch.plugin import (
    DELIVERED,
    Duration,
    Event,
    FilePath,
    OptionError,
    Options,
    Outcome,
    Rejected,
    Retry,
    Secret,
    Sink,
    SinkContext,
    Size,
    Template,
    TemplateError,
    sink,
)

from tdbwatch_exec.process import Result, run

_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
_SOON: Final = 1.0
_INHERITED: Final = ("PATH", "HOME", "LANG", "TZ")


class ExecOptions(Options):
    """Options of `type: exec`."""

    command: list[Template] = Field(
        min_length=1, description="The program and its arguments; no shell. The arguments may be templates."
    )
    mode: Literal["event", "batch"] = Field("event", description="Run once for each event, or each batch.")
    deadline: Duration = Field(10.0, gt=0, description="The longest that one run may take.")
    cwd: FilePath = Field(Path("/"), description="The folder to run in.")
    env: dict[str, Secret] = Field(default_factory=dict, description="Variables for the program.")
    output: Size = Field(4000, ge=0, description="How much of the output is kept.")
    rejected: list[int] = Field(
        default_factory=lambda: [65, 100], description="Exit codes that mean: never again."
    )

    @field_validator("command")
    @classmethod
    def _is_one_program(cls, command: list[Template]) -> list[Template]:
        if not command[0].is_constant:
            raise ValueError("only arguments may be templates, not the program")
        if command[0].source.startswith("~"):
            raise OptionError("a ~ stands for nobody's home here", "write the program's whole path")
        return command

    @model_validator(mode="after")
    def _templates_have_one_event(self) -> "ExecOptions":
        if self.mode == "batch" and not all(part.is_constant for part in self.command):
            raise ValueError("mode: batch runs once for many events, and a template is about one")
        return self


@sink("exec")
class ExecSink(Sink):
    """Runs a program with the record on its standard input."""

    Options = ExecOptions

    def __init__(self, options: ExecOptions, context: SinkContext) -> None:
        super().__init__(options, context)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._env = inherited | {name: value.get_secret_value() for name, value in options.env.items()}

    async def deliver(self, batch: Sequence[Event]) -> Outcome | Sequence[Outcome]:
        if self.options.mode == "batch":
            return await self._run(batch)
        until = self.context.clock.monotonic() + self.options.deadline
        outcomes: list[Outcome] = []
        for event in batch:
            outcomes.append(await self._run([event]))
            if isinstance(outcomes[-1], Retry) or self.context.clock.monotonic() >= until:
                break  # order is kept, and the rest has a time of its own in the next call
        return outcomes

    async def _run(self, events: Sequence[Event]) -> Outcome:
        program = self.options.command[0].source
        try:
            command = [part.render(events[0]).replace("\0", "") for part in self.options.command]
        except TemplateError as error:
            return Rejected(f"its templates fail for this event: {error}")
        try:
            result = await run(
                command,
                b"".join(event.json() + b"\n" for event in events),
                cwd=str(self.options.cwd),
                env=self._env,
                deadline=self.options.deadline,
                keep=self.options.output,
            )
        except TimeoutError:  # an OSError too, so it comes first
            return Retry(f"{program} did not end within {self.options.deadline:g} s and was ended")
        except OSError as error:
            if error.errno == errno.E2BIG and not all(part.is_constant for part in self.options.command):
                return Rejected("its templates make arguments of it that are too long for a program")
            if error.errno in _NO_DESCRIPTOR:  # nothing of the events: it costs them no attempt
                return Retry(f"{program} cannot be run: {error.strerror}", after=_SOON, pause=True)
            return Retry(f"{program} cannot be run: {error.strerror} ({error.filename})")
        return self._judge(program, result)

    def _judge(self, program: str, result: Result) -> Outcome:
        if result.code == 0:
            return DELIVERED
        how = f"exit code {result.code}" if result.code > 0 else f"ended by signal {-result.code}"
        said = self._redacted(result.output)
        reason = f"{program}: {how}" + (f": {said}" if said else "")
        return Rejected(reason) if result.code in self.options.rejected else Retry(reason)

    def _redacted(self, output: bytes) -> str:
        """The program's output without the secrets that it was given."""
        text = output.decode("utf-8", "replace").strip()
        for secret in self.options.env.values():
            if secret.get_secret_value():
                text = text.replace(secret.get_secret_value(), "***")
        return text
