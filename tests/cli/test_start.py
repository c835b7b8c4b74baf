"""What a command loads before it does anything: not what others need."""

import subprocess
import sys

_CODE = """
import sys
import tdbwatch.cli.app
parser = tdbwatch.cli.app.build_parser()
print(*sys.modules)
from tdbwatch.daemon import service
from tdbwatch.daemon.plugins import load_plugins
load_plugins()
print(*sys.modules)
"""


def test_help_loads_no_daemon_and_a_daemon_without_http_loads_no_http_library() -> None:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    parser, daemon = (set(line.split()) for line in done.stdout.splitlines())
    assert "tdbwatch.cli.config.check" in parser
    assert parser.isdisjoint({"pydantic", "structlog", "aiohttp", "yaml", "tdbwatch.daemon.config"})
    assert "tdbwatch.sinks.webhook" in daemon
    assert daemon.isdisjoint({"aiohttp", "prometheus_client", "cel_expr_python"})
