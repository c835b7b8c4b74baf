"""Every example in config/ runs as it stands, but for the places that are different on each machine."""

from functools import partial
from pathlib import Path

import pytest
import yaml

from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.exceptions import LookupError as ScopeLookupError

from .cluster import knows_room
from .daemon import DaemonProcess
from .node import free_ports
from .waiting import until

pytestmark = pytest.mark.real

EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
VARIABLES = (
    "SLACK_URL",
    "TEAMS_URL",
    "DISCORD_URL",
    "CHAT_URL",
    "PAGERDUTY_KEY",
    "OPSGENIE_KEY",
    "THINGSDB_TOKEN",
)
NOWHERE = "http://127.0.0.1:9/"
"""Nothing is delivered: whether sinks work is no question for ThingsDB."""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The environment that the examples expect, and a folder for what they write."""
    (tmp_path / "plugins.d").mkdir(mode=0o755)
    for name, text in (("hook-secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), ("thingsdb-token", "t")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.setenv(name, NOWHERE if name.endswith("_URL") else "t0ken")
    return tmp_path


def adapted(example, folder):
    """Its sections, with our places instead of those that it names."""
    config = yaml.safe_load(example.read_text())
    for sink in config["sinks"].values():
        if sink["type"] not in load_plugins().sink_types:  # of a package that is not installed here
            sink.clear()
            sink["type"] = "log"
        if "path" in sink:
            sink["path"] = str(folder / Path(sink["path"]).name)
        if sink.get("url", "").startswith("https://"):
            sink["url"] = NOWHERE
    config.setdefault("spool", {})["path"] = str(folder / "spool.db")
    config.setdefault("logging", {})["format"] = "json"
    if "http" in config:
        config["http"]["listen"] = f"127.0.0.1:{free_ports(1)[0]}"
    return config


class Rooms:
    """Makes the rooms that an example wants."""

    def __init__(self, client, target):
        self._client, self._target = client, target
        self._made = []

    async def make(self, config):
        """All of them; a room that is named by its id gets the one that was made for it."""
        thingsdb = config["thingsdb"]
        scope = thingsdb.get("scope", "//stuff")
        rooms = [{"name": room} if isinstance(room, str) else room for room in config["rooms"]]
        if "canary" in thingsdb:
            canary = thingsdb["canary"]
            await self._make(canary["room"], canary.get("scope", scope))
        for room in rooms:
            where = room.get("scope", scope)
            if "id" in room:
                room["id"] = await self._make("legacy_room", where)
            elif "code" in room:
                await self._make(
                    "room_of_code", where, f"{room['code'].partition('.room')[0]} = {{room: it}};"
                )
            else:
                await self._make(room["name"], where)
        config["rooms"] = rooms

    async def _make(self, name, scope, more=""):
        collection = scope.removeprefix("//")
        try:
            await self._client.query("collection_info(name);", scope="@t", name=collection)
        except ScopeLookupError:
            await self._client.query("new_collection(name);", scope="@t", name=collection)
        code = f".{name} = room(); it = .{name}; it.set_name('{name}'); {more} it.id();"
        await until(partial(self._query, scope, code), f"{scope} to be there", 30)
        room_id = await self._client.query(f"room('{name}').id();", scope=scope)
        for node in self._target.nodes:
            known = partial(knows_room, node, self._target.auth, scope, room_id)
            await until(known, f"{name} to be known at {node}", 60)
        return room_id

    async def _query(self, scope, code):
        try:
            await self._client.query(code, scope=scope, timeout=10)
        except ScopeLookupError:
            return False
        return True


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_an_example_joins_all_its_rooms(example, elsewhere, target, cluster, emitter):
    config = adapted(example, elsewhere)
    await Rooms(emitter, target).make(config)
    thingsdb = {k: v for k, v in config.pop("thingsdb").items() if k not in {"nodes", "auth", "tls"}}
    daemon = DaemonProcess(elsewhere, target.nodes, target.auth, thingsdb, config)
    try:
        await daemon.start()
        joined = [line["room"] for line in daemon.logged("room.joined")]
        assert sorted(joined) == sorted(str(room.get("as", room.get("name"))) for room in config["rooms"])
        if "canary" in thingsdb:
            await until(lambda: daemon.logged("canary.joined"), "the canary's room to be joined")
        assert not [line for line in daemon.log.read() if line["event"] == "canary.no_room"]
        assert await daemon.stop() == 0
    finally:
        daemon.kill()
