"""Options of the thingsdb sink."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, InstanceOf, WithJsonSchema, field_validator, model_validator

from tdbwatch.plugin import Duration, JsonTemplate, OptionError, Options

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A variable of ThingsDB, and so an argument's name."""


def _args(value: object) -> object:
    if isinstance(value, JsonTemplate):
        return value
    if not isinstance(value, list | dict):
        raise OptionError("args are a list, or a mapping of names", 'write for instance ["{{ record }}"]')
    for name in value if isinstance(value, dict) else ():
        if not _NAME.fullmatch(str(name)):
            raise OptionError(f"{name!r} cannot be the name of a variable", "it has letters, digits and _")
    return JsonTemplate(value)


Args = Annotated[
    InstanceOf[JsonTemplate], BeforeValidator(_args), WithJsonSchema({"type": ["array", "object"]})
]


class ThingsDBOptions(Options):
    """Options of `type: thingsdb`."""

    procedure: str | None = Field(None, min_length=1, description="The procedure to run.")
    code: str | None = Field(None, min_length=1, description="Code to run instead, with `args` as variables.")
    args: Args | None = Field(
        None,
        description="Its arguments, a list or a mapping; strings are templates. By default the record.",
    )
    scope: str | None = Field(None, min_length=1, description="Where it runs; by default `thingsdb.scope`.")
    retry_codes: list[Annotated[int, Field(ge=-127, le=-1)]] = Field(
        default_factory=list, description="Codes of errors to try again after, such as -100."
    )
    timeout: Duration = Field(30.0, gt=0, description="The longest that one call of the sink may take.")

    @field_validator("code")
    @classmethod
    def _is_no_template(cls, value: str | None) -> str | None:
        if value is not None and "{{" in value:
            raise OptionError(
                "code is no template: what an event says could become code",
                "use a variable of `args`; `{ {` if ThingsDB's own braces are meant",
            )
        return value

    @field_validator("scope")
    @classmethod
    def _is_a_scope(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("/", "@")):
            raise OptionError("this is no scope", "write //COLLECTION, or @thingsdb")
        return value

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "ThingsDBOptions":
        if (self.procedure is None) == (self.code is None):
            raise OptionError("it runs either a procedure or code", "give one of them")
        if self.code is not None and self.args is not None and self.args.source.startswith("["):
            raise OptionError("the variables of code have names", "write args as a mapping")
        return self

    @property
    def template(self) -> JsonTemplate:
        """What makes the arguments."""
        if self.args is not None:
            return self.args
        record: Any = "{{ record }}"
        return JsonTemplate([record] if self.code is None else {"record": record})
