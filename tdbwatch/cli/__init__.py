"""The command line: `tdbwatch --config prod.yaml`, and what helps around it."""

from tdbwatch.cli.main import main

__all__ = ["main"]
