"""The thingsdb sink: a procedure or code of ThingsDB is run for each event."""

from tdbwatch.sinks.thingsdb.options import ThingsDBOptions
from tdbwatch.sinks.thingsdb.sink import ThingsDBSink

__all__ = ["ThingsDBOptions", "ThingsDBSink"]
