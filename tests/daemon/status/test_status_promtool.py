"""Debian's promtool reads the metrics, and finds no fault with their names, types and help."""

import asyncio
import shutil
import subprocess
from dataclasses import replace

import pytest

from tdbwatch.daemon.status.metrics import Metrics

from .status_moments import CANARY, FINE


def test_promtool_finds_no_fault_with_the_metrics() -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    text = asyncio.run(Metrics().text(replace(FINE, canary=CANARY)))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
