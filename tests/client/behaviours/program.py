"""The programs of the table, and what they show, each as a process of its own."""

import asyncio
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Final, NamedTuple

from .table import NEVER_ENDS, Behaviour

PRELUDE: Final = (Path(__file__).parent / "prelude.py.txt").read_text("utf-8")
EPILOGUE: Final = """

async def _run():
    await main(await connect())
    await close_all()


asyncio.run(_run())
"""


COMPLAINT: Final = re.compile(
    r"Traceback|Warning|never (?:awaited|retrieved)|Exception ignored|was destroyed"
)


class Observed(NamedTuple):
    """What a program showed: its output and how it ended.

    Attributes:
        shows: its output, and its exit code or that it never ended.
        complaints: standard error, if Python complains there; what is only logged does not count.
    """

    shows: str
    complaints: str


def source(behaviour: Behaviour) -> str:
    """The whole text of a program, for python-thingsdb."""
    if behaviour.is_whole:
        return PRELUDE + behaviour.program
    return f"{PRELUDE}\n\nasync def main(client):\n{textwrap.indent(behaviour.program, '    ')}{EPILOGUE}"


def end_of(exit_code: int | None) -> str:
    return f"(exit code {exit_code})" if exit_code else ""


async def run(text: str, address: str, auth: tuple[str, str], limit: float) -> Observed:
    """Run a program for at most `limit` seconds, in an interpreter of its own."""
    host, _, port = address.rpartition(":")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", text, host, port, *auth,  # -P: what is installed, not what lies around
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    reading = asyncio.gather(process.stdout.read(), process.stderr.read())
    try:
        await asyncio.wait_for(process.wait(), limit)
        end = end_of(process.returncode)
    except TimeoutError:
        end = NEVER_ENDS
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()  # else a later test is blamed for it
    out, err = await reading
    return seen(out.decode(), end, err.decode())


def seen(out: str, end: str, err: str) -> Observed:
    return Observed(f"{out}{end}".strip(), err if COMPLAINT.search(err) else "")
