"""Options of the file sink."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from tdbwatch.plugin import Duration, OptionError, Options, Size
from tdbwatch.plugin.options import refuse_home
from tdbwatch.sinks.file.compression import why_unavailable
from tdbwatch.sinks.file.names import PathTemplate

Fsync = Literal["always", "batch", "never"]
Compression = Literal["gzip", "zstd"]


class Rotate(Options):
    """When a file is set aside and a new one begun."""

    size: Size | None = Field(None, description="Before the file would grow beyond this.", gt=0)
    every: Duration | None = Field(
        None,
        description="At each multiple of this since 1970 in UTC: 1d is midnight, 1h the full hour.",
        ge=1,
    )
    keep: PositiveInt | None = Field(
        None, description="How many files to keep aside for each path; without it, all of them."
    )
    compress: bool | Compression = Field(
        default=False, description="Compress the files set aside: true is gzip; or gzip, zstd."
    )

    @property
    def compression(self) -> Compression | None:
        """The kind of compression, or None."""
        return ("gzip" if self.compress else None) if isinstance(self.compress, bool) else self.compress

    @field_validator("compress")
    @classmethod
    def _is_available(cls, value: bool | Compression) -> bool | Compression:
        if value == "zstd" and (reason := why_unavailable("zstd")):
            raise ValueError(reason)
        return value

    @model_validator(mode="after")
    def _has_a_reason_to_rotate(self) -> "Rotate":
        if self.size is None and self.every is None:
            raise OptionError("nothing says when to rotate", "give size, every, or both")
        return self


class FileOptions(Options):
    """Options of `type: file`."""

    path: str = Field(description="The file, by template: {room} {scope} {event} {kind} {date}.")
    rotate: Rotate | None = Field(None, description="When to begin a new file; without it, never.")
    fsync: Fsync = Field(
        "batch",
        description="Wait for the disk after each record (always) or each batch, or leave it to the system.",
    )

    @field_validator("path")
    @classmethod
    def _is_a_template(cls, value: str, info: ValidationInfo) -> str:
        refuse_home(value)
        PathTemplate(value)
        folder = (info.context or {}).get("folder")
        if folder is None:
            return value
        literal = str(folder).replace("{", "{{").replace("}", "}}")
        return str(Path(literal) / value)
