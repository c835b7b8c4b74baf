"""The file sink: one record a line, in files named by a template, rotated and compressed."""

from tdbwatch.sinks.file.options import FileOptions, Rotate
from tdbwatch.sinks.file.sink import FileSink

__all__ = ["FileOptions", "FileSink", "Rotate"]
