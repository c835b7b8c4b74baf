"""The connector's programs in README and documentation run as they are written, without a ThingsDB."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from tdbwatch.cli.app import build_parser

ROOT = Path(__file__).parents[2]


def program(document: str, containing: str) -> str:
    """The one Python program of a document that contains a text."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    [found] = [text for text in blocks if containing in text]
    return str(found)


async def output_of(source: str, folder: Path) -> str:
    """What a program prints; it must end well."""
    (folder / "program.py").write_text(source)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "program.py",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_the_readmes_program_hears_its_own_message_on_the_node_of_the_readme(
    start: Any, until: Any, tmp_path: Path
) -> None:
    text = (ROOT / "README.md").read_text()
    [command] = re.findall(r"`tdbwatch (node --room chat)`", text)
    source = program("README.md", "class Chat(Room)")
    assert source.count("127.0.0.1:9200") == 1
    assert build_parser().parse_args(command.split()).port == 9200
    node = await start(*command.split(), "--port", "0")  # 9200 may be taken on this machine
    await until(lambda: "listening on" in node.text, "the address")
    address = re.search(r"listening on (\S+);", node.text)
    assert address is not None
    assert await output_of(source.replace("127.0.0.1:9200", address[1]), tmp_path) == "Hello!\n"
    assert await node.stop() == 0


async def test_the_documented_answers_of_the_embedded_node(tmp_path: Path) -> None:
    printed = await output_of(program("docs/connector.md", "on_query("), tmp_path)
    assert printed == "Hello!\n{'code': '.users[7];'}\n3\n"
