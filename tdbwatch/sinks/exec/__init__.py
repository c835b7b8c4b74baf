"""The exec sink: a program is run for each event, or each batch, with the record on its standard input."""

from tdbwatch.sinks.exec.options import ExecOptions
from tdbwatch.sinks.exec.sink import ExecSink

__all__ = ["ExecOptions", "ExecSink"]
