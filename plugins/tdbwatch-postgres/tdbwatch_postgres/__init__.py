"""A tdbwatch sink that writes events to a PostgreSQL table, each id once."""

from tdbwatch_postgres.options import PostgresOptions
from tdbwatch_postgres.sink import PostgresSink

__tdbwatch_api__ = 1

__all__ = ["PostgresOptions", "PostgresSink"]
