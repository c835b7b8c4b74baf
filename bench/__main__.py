"""`python -m bench`: run the scenarios, print the table."""

import argparse
import json
import os
import platform
import sys
import time

from bench import backlog, connections, dispatch, files, flood, idle, isolation, latency, pipeline, routing
from bench.plan import FULL, QUICK
from bench.table import Row, show

SCENARIOS = {
    "dispatch": dispatch.run,
    "latency": latency.run,
    "idle": idle.run,
    "pipeline": pipeline.run,
    "files": files.run,
    "flood": flood.run,
    "backlog": backlog.run,
    "isolation": isolation.run,
    "connections": connections.run,
    "routing": routing.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios, measured in one run.")
    parser.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="about three minutes: smaller, and less certain")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    plan, started = QUICK if options.quick else FULL, time.monotonic()
    rows: list[Row] = []
    for name in options.scenarios or SCENARIOS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows += SCENARIOS[name](plan)
    where = {"python": platform.python_version(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    if options.json:
        print(json.dumps({**where, "rows": [row.as_json() for row in rows]}, indent=1))
    else:
        print(show(rows))
        print(f"\nPython {where['python']}, {where['cores']} cores; {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
