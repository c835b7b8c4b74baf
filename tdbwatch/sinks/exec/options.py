"""Options of the exec sink."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tdbwatch.plugin import Duration, FilePath, OptionError, Options, Secret, Size, Template


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
    timeout: Duration = Field(30.0, gt=0, description="The longest that one call of the sink may take.")

    @field_validator("command")
    @classmethod
    def _is_one_program(cls, command: list[Template]) -> list[Template]:
        if not command[0].is_constant:
            raise OptionError("only arguments may be templates, not the program", "write the program's path")
        if command[0].source.startswith("~"):
            raise OptionError("a ~ stands for nobody's home here", "write the program's whole path")
        return command

    @field_validator("env")
    @classmethod
    def _are_names(cls, env: dict[str, Secret]) -> dict[str, Secret]:
        for name in env:
            if not name or "=" in name or "\0" in name:
                raise OptionError(f"{name!r} cannot be the name of a variable", "write NAME: value")
        return env

    @model_validator(mode="after")
    def _templates_have_one_event(self) -> "ExecOptions":
        if self.mode == "batch" and not all(part.is_constant for part in self.command):
            raise OptionError(
                "mode: batch runs once for many events, and a template is about one",
                "write mode: event, or no template",
            )
        return self

    @model_validator(mode="after")
    def _ends_before_the_call(self) -> "ExecOptions":
        if self.deadline >= self.timeout:
            raise OptionError(
                f"the deadline of {self.deadline:g} s is not below the sink's timeout of {self.timeout:g} s",
                "lower deadline, or raise timeout",
            )
        return self
