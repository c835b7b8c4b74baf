"""Short names for the administrative calls of ThingsDB, each one query in its scope.

What they return is documented with ThingsDB's functions of the same names.
"""

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Final

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""By their numbers in ThingsDB."""


class Admin:
    """Mixed into `Client`. Every method raises what `Client.query` raises."""

    def query(self, code: str, scope: str | None = None, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        raise NotImplementedError

    # scope @node

    async def node_info(self, scope: str = "@n") -> dict[str, Any]:
        """How a node is."""
        return await _ask(self, "node_info", scope=scope)

    async def nodes_info(self, scope: str = "@n") -> list[dict[str, Any]]:
        """How all nodes are, as one node sees them."""
        return await _ask(self, "nodes_info", scope=scope)

    async def counters(self, scope: str = "@n") -> dict[str, Any]:
        """A node's counters."""
        return await _ask(self, "counters", scope=scope)

    async def reset_counters(self, scope: str = "@n") -> None:
        """Set a node's counters to zero."""
        await _ask(self, "reset_counters", scope=scope)

    async def set_log_level(self, log_level: str, scope: str = "@n") -> None:
        """A node's log level, such as `WARNING`."""
        if log_level not in LOG_LEVELS:
            raise ValueError(f"{log_level!r} is no log level; write one of {', '.join(LOG_LEVELS)}")
        await _ask(self, "set_log_level", LOG_LEVELS.index(log_level), scope=scope)

    async def shutdown(self, scope: str = "@n") -> None:
        """Shut a node down."""
        await _ask(self, "shutdown", scope=scope)

    async def backups_info(self, scope: str = "@n") -> list[dict[str, Any]]:
        """The backups that a node makes."""
        return await _ask(self, "backups_info", scope=scope)

    async def backup_info(self, backup_id: int, scope: str = "@n") -> dict[str, Any]:
        """One backup of a node."""
        return await _ask(self, "backup_info", backup_id, scope=scope)

    async def backups_ok(self, scope: str = "@n") -> bool:
        """Whether all backups of a node succeeded."""
        return await _ask(self, "backups_ok", scope=scope)

    async def has_backup(self, backup_id: int, scope: str = "@n") -> bool:
        """Whether a node has this backup."""
        return await _ask(self, "has_backup", backup_id, scope=scope)

    async def del_backup(self, backup_id: int, delete_files: bool = False, scope: str = "@n") -> None:
        """Stop a backup; its files are kept unless told otherwise."""
        await _ask(self, "del_backup", backup_id, delete_files, scope=scope)

    async def new_backup(
        self,
        file_template: str,
        start_ts: datetime | None = None,
        repeat: int | None = 0,
        max_files: int | None = 7,
        scope: str = "@n",
    ) -> int:
        """Schedule a backup, the first one at `start_ts`, and each further one `repeat` seconds later."""
        every, kept = (0 if repeat is None else repeat), (7 if max_files is None else max_files)
        return await _ask(self, "new_backup", file_template, start_ts, every, kept, scope=scope)

    # scope @thingsdb

    async def collections_info(self) -> list[dict[str, Any]]:
        """All collections."""
        return await _ask(self, "collections_info")

    async def collection_info(self, collection: int | str) -> dict[str, Any]:
        """One collection."""
        return await _ask(self, "collection_info", collection)

    async def has_collection(self, name: str) -> bool:
        """Whether there is such a collection."""
        return await _ask(self, "has_collection", name)

    async def new_collection(self, name: str) -> str:
        """Make a collection."""
        return await _ask(self, "new_collection", name)

    async def rename_collection(self, collection: int | str, new_name: str) -> None:
        """Rename a collection."""
        await _ask(self, "rename_collection", collection, new_name)

    async def del_collection(self, collection: int | str) -> None:
        """Delete a collection and all that is in it."""
        await _ask(self, "del_collection", collection)

    async def set_time_zone(self, collection: int | str, zone: str) -> None:
        """A collection's time zone."""
        await _ask(self, "set_time_zone", collection, zone)

    async def time_zones_info(self) -> list[str]:
        """The time zones that the server knows."""
        return await _ask(self, "time_zones_info")

    async def users_info(self) -> list[dict[str, Any]]:
        """All users."""
        return await _ask(self, "users_info")

    async def user_info(self, user: str | None = None) -> dict[str, Any]:
        """One user; by default the one logged in."""
        return await (_ask(self, "user_info") if user is None else _ask(self, "user_info", user))

    async def has_user(self, name: str) -> bool:
        """Whether there is such a user."""
        return await _ask(self, "has_user", name)

    async def new_user(self, name: str) -> str:
        """Make a user, without password and privileges."""
        return await _ask(self, "new_user", name)

    async def rename_user(self, name: str, new_name: str) -> None:
        """Rename a user."""
        await _ask(self, "rename_user", name, new_name)

    async def del_user(self, name: str) -> None:
        """Delete a user."""
        await _ask(self, "del_user", name)

    async def set_password(self, user: str, new_password: str | None = None) -> None:
        """A user's password; None takes it away."""
        await _ask(self, "set_password", user, new_password)

    async def grant(self, target: int | str, user: str, mask: int) -> None:
        """Give a user privileges on a scope."""
        await _ask(self, "grant", target, user, mask)

    async def revoke(self, target: int | str, user: str, mask: int) -> None:
        """Take privileges on a scope from a user."""
        await _ask(self, "revoke", target, user, mask)

    async def new_token(
        self, user: str, expiration_time: datetime | None = None, description: str = ""
    ) -> str:
        """Make a token for a user."""
        return await _ask(self, "new_token", user, expiration_time, description)

    async def has_token(self, token: str) -> bool:
        """Whether there is such a token."""
        return await _ask(self, "has_token", token)

    async def del_token(self, key: str) -> None:
        """Delete a token."""
        await _ask(self, "del_token", key)

    async def del_expired(self) -> None:
        """Delete all expired tokens."""
        await _ask(self, "del_expired")

    async def new_node(self, secret: str, name: str, port: int | None = 9220) -> int:
        """Add a node; returns its id."""
        return await _ask(self, "new_node", secret, name, port)

    async def has_node(self, node_id: int) -> bool:
        """Whether there is such a node."""
        return await _ask(self, "has_node", node_id)

    async def del_node(self, node_id: int) -> None:
        """Remove a node."""
        await _ask(self, "del_node", node_id)

    async def restore(self, filename: str, options: dict[str, Any] | None = None) -> None:
        """Restore from a backup file."""
        await _ask(self, "restore", filename, options or {})

    async def modules_info(self) -> list[dict[str, Any]]:
        """All modules."""
        return await _ask(self, "modules_info")

    async def module_info(self, name: str) -> dict[str, Any]:
        """One module."""
        return await _ask(self, "module_info", name)

    async def has_module(self, name: str) -> bool:
        """Whether there is such a module."""
        return await _ask(self, "has_module", name)

    async def new_module(self, name: str, source: str, configuration: Any = None) -> None:
        """Add a module."""
        await _ask(self, "new_module", name, source, configuration)

    async def deploy_module(self, name: str, data: bytes | str | None = None) -> None:
        """Deploy a module's code."""
        await _ask(self, "deploy_module", name, data)

    async def refresh_module(self, name: str) -> None:
        """Read a module's source again."""
        await _ask(self, "refresh_module", name)

    async def restart_module(self, name: str, scope: str = "@n") -> None:
        """Restart a module on a node."""
        await _ask(self, "restart_module", name, scope=scope)

    async def rename_module(self, name: str, new_name: str) -> None:
        """Rename a module."""
        await _ask(self, "rename_module", name, new_name)

    async def set_module_conf(self, name: str, configuration: dict[str, Any] | None = None) -> None:
        """A module's configuration."""
        await _ask(self, "set_module_conf", name, configuration)

    async def set_module_scope(self, name: str, scope: str | None) -> None:
        """The scope that a module is restricted to."""
        await _ask(self, "set_module_scope", name, scope)

    async def del_module(self, name: str) -> None:
        """Remove a module."""
        await _ask(self, "del_module", name)


def _ask(client: Admin, function: str, *args: Any, scope: str = "@t") -> Coroutine[Any, Any, Any]:
    """Call a function by name, its arguments passed as variables and never pasted into code.

    A time is sent as seconds and made a time there: MessagePack has no type for it that ThingsDB takes.
    """
    terms, variables = [], {}
    for number, value in enumerate(args):
        name, is_time = f"arg{number}", isinstance(value, datetime)
        terms.append(f"datetime({name})" if is_time else name)
        variables[name] = int(value.timestamp()) if is_time else value
    return client.query(f"{function}({', '.join(terms)});", scope=scope, **variables)
