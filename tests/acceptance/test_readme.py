"""What the README shows works as shown."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tdbwatch.node import Cluster

README = Path(__file__).parents[2] / "README.md"


def block(language: str, containing: str) -> str:
    """The one code block of the README in this language that contains a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    found = [text for text in blocks if containing in text]
    assert len(found) == 1
    return str(found[0])


async def test_the_configuration_is_fine(start: Any, tmp_path: Path) -> None:
    (tmp_path / "prod.yaml").write_text(block("yaml", "thingsdb:"))
    env = {"THINGSDB_TOKEN": "token", "HOOK_SECRET": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}
    command = await start("check", "--config", "prod.yaml", env=env)
    assert await command.exit_code() == 0, command.text
    assert "3 nodes, 3 rooms, 3 sinks, 2 routes" in command.text


async def test_the_plugin_gets_events(
    start: Any, until: Any, cluster: Cluster, write_config: Any, tmp_path: Path
) -> None:
    (tmp_path / "plugins.d").mkdir(mode=0o755)
    (tmp_path / "plugins.d" / "pager.py").write_text(block("python", "def tdbwatch_event"))
    config = write_config(plugins={"paths": ["plugins.d"]})
    command = await start("--config", config)
    await command.ready()
    cluster.emit("//stuff", "alerts", "disk-full", {"used": 97})
    await until(lambda: "PAGE: alerts says disk-full: [{'used': 97}]" in command.text, "the page")
    assert await command.stop() == 0


def test_configuration_and_plugin_are_about_ten_lines() -> None:
    assert len(block("yaml", "thingsdb:").splitlines()) == 10
    assert len(block("python", "def tdbwatch_event").splitlines()) <= 10


def test_the_connector_program_is_the_public_face(capsys: pytest.CaptureFixture[str]) -> None:
    source = block("python", "class Chat(Room)").replace("asyncio.run(main())", "")
    compile(source, "README.md", "exec")
    names: dict[str, Any] = {}
    exec(source, names)
    assert callable(names["main"])


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README.read_text()))))
def test_every_file_that_it_links_to_is_there(link: str) -> None:
    assert (README.parent / link).exists()


def test_its_configuration_has_no_key_that_yaml_reads_otherwise() -> None:
    assert set(yaml.safe_load(block("yaml", "thingsdb:"))) == {"thingsdb", "rooms", "sinks", "routes"}
