"""A changed configuration, taken up by the real daemon when the real command, or a signal, asks for it."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdbwatch.node import Cluster
from tdbwatch.testing import free_port


@pytest.fixture(autouse=True)
def hangups_arrive() -> Iterator[None]:
    """Also where the tests run under nohup, whose children ignore them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def listen() -> dict[str, str]:
    return {"listen": f"127.0.0.1:{free_port()}"}


async def answer(start: Any, config: Path) -> tuple[int, str]:
    """The exit code of `tdbwatch reload`, and what it said."""
    command = await start("reload", "--config", config)
    return await command.exit_code(), command.text


async def test_the_command_waits_and_says_what_came_of_it(
    start: Any, until: Any, cluster: Cluster, write_config: Any, lines: Any, listen: dict[str, str]
) -> None:
    config = write_config(rooms=["alerts"], http=listen)
    command = await start("--config", config)
    await command.ready()
    assert await answer(start, config) == (0, "unchanged\n")
    write_config(http=listen)
    assert await answer(start, config) == (0, "room deploys in //ops joined\nreloaded\n")
    cluster.emit("//ops", "deploys", "counted", 1)
    await until(lambda: len(lines("deploys.jsonl")) == 1, "the event of the new room")

    write_config(rooms=[{"name": "al erts"}], sinks={"audit": {"type": "fill"}}, http=listen)
    code, said = await answer(start, config)
    assert code == 78
    assert "sinks.audit.type: no plugin offers this type of sink" in said
    assert "    did you mean file?" in said
    assert said.endswith("refused: nothing was changed, what was in use is still\n")

    def refused() -> list[str]:
        return [record["key"] for record in command.records() if record["event"] == "config.refused"]

    await until(lambda: len(refused()) == 2, "the same in the log")
    assert refused() == ["rooms[0]", "sinks.audit.type"]

    write_config(http=listen, spool={"path": str(config.with_name("other.db"))})
    assert await answer(start, config) == (0, "waits for a restart: spool.path\nreloaded\n")
    config.write_text("rooms: [")
    code, said = await answer(start, config)
    assert code == 78
    assert "watch.yaml:1" in said
    assert await command.stop() == 0


async def test_the_command_says_why_it_cannot_ask(
    start: Any, until: Any, write_config: Any, listen: dict[str, str]
) -> None:
    code, said = await answer(start, write_config())
    assert (code, "no section http" in said) == (78, True)
    code, said = await answer(start, write_config(http=listen))
    assert (code, f"no daemon answers at http://{listen['listen']}" in said) == (69, True)
    command = await start("--config", write_config(http={**listen, "token": "sesame"}))
    await command.ready()
    code, said = await answer(start, write_config("other.yaml", http={**listen, "token": "open"}))
    assert (code, "another token" in said) == (69, True)
    assert await command.stop() == 0


async def test_a_hangup_has_the_configuration_read_again(start: Any, until: Any, write_config: Any) -> None:
    config = write_config(rooms=["alerts"])
    command = await start("--config", config)
    await command.ready()
    config.write_text(config.read_text().replace("alerts", "al erts"))
    command.signal(signal.SIGHUP)
    await until(lambda: command.said("config.not_reloaded"), "a complaint")
    write_config()
    for _ in range(100):
        command.signal(signal.SIGHUP)
    await until(lambda: command.said("config.reloaded"), "a reload")
    changes = [r["changes"] for r in command.records() if r["event"] == "config.reloaded"]
    assert changes[0] == ["room deploys in //ops joined"]
    assert await command.stop() == 0
    assert len([r for r in command.records() if r["event"] == "config.reloaded"]) < 20


async def test_a_hangup_while_it_starts_is_taken_up_and_ends_nothing(
    start: Any, until: Any, write_config: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "plugins.d"
    folder.mkdir()
    (folder / "hasty.py").write_text("import os, signal\n\nos.kill(os.getpid(), signal.SIGHUP)\n")
    command = await start("--config", write_config(plugins={"paths": [str(folder)]}))
    await command.ready()
    await until(lambda: command.said("config.reloaded"), "a reload")
    assert await command.stop() == 0


async def test_the_level_and_the_form_of_the_log_change_at_once(
    start: Any, until: Any, write_config: Any, listen: dict[str, str]
) -> None:
    config = write_config(http=listen, logging={"level": "info", "format": "json"})
    command = await start("--config", config)
    await command.ready()
    write_config(http=listen, logging={"level": "error", "format": "console"})
    assert (await answer(start, config))[0] == 0
    write_config(http=listen, rooms=[{"name": "al erts"}], logging={"level": "error", "format": "console"})
    assert (await answer(start, config))[0] == 78
    await until(lambda: "config.not_reloaded" in command.text, "a complaint")
    assert await command.stop() == 0
    changed = next(i for i, line in enumerate(command.output) if not line.startswith("{"))
    assert "config.not_reloaded" not in "".join(command.output[:changed])
    assert not any(line.startswith("{") for line in command.output[changed:])
    assert "daemon.stopped" not in command.text, "it is of level info"


async def test_systemd_is_told_of_each_reload(
    start: Any, until: Any, write_config: Any, systemd: Any, listen: dict[str, str]
) -> None:
    config = write_config(rooms=["alerts"], http=listen)
    command = await start("--config", config, env={"NOTIFY_SOCKET": str(systemd.path)})
    await command.ready()
    write_config(http=listen)
    assert (await answer(start, config))[0] == 0
    config.write_text(config.read_text().replace("deploys", "de ploys"))
    assert (await answer(start, config))[0] == 78
    assert await command.stop() == 0
    heard = systemd.said()
    words = [text.partition("\n")[0] for text in heard if not text.startswith("STATUS=")]
    assert words == ["READY=1", *["RELOADING=1", "READY=1"] * 2, "STOPPING=1"]
    reloading = next(text for text in heard if text.startswith("RELOADING=1"))
    assert reloading.partition("\nMONOTONIC_USEC=")[2].isdecimal()


async def test_a_request_from_a_web_page_reloads_nothing(
    start: Any, until: Any, write_config: Any, listen: dict[str, str]
) -> None:
    command = await start("--config", write_config(http=listen))
    await command.ready()
    host, _, port = listen["listen"].rpartition(":")

    async def post(*headers: str, host_header: str = listen["listen"]) -> int:
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = ("POST /-/reload HTTP/1.1", f"Host: {host_header}", "Connection: close", *headers, "", "")
        writer.write("\r\n".join(lines).encode())
        status = int((await reader.read()).split()[1])
        writer.close()
        return status

    assert await post() == 403
    assert await post("X-Tdbwatch: reload", "Origin: https://example.org") == 403
    assert await post("X-Tdbwatch: reload", host_header="example.org") == 421
    assert await post("X-Tdbwatch: reload", "Content-Length: 2", "", "{}") == 413
    assert not command.said("config.reloaded")
    assert await post("X-Tdbwatch: reload") == 200
    assert await command.stop() == 0
