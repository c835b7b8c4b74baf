"""Short names for the administrative calls of ThingsDB, each one query in its scope.

What they return is documented with ThingsDB's functions of the same names.
"""

from collections.abc import Awaitable
from datetime import datetime
from typing import Any


class Admin:
    """Mixed into `Client`. Every method raises what `Client.query` raises."""

    def query(self, code: str, scope: str | None = None, **kwargs: Any) -> Awaitable[Any]:
        raise NotImplementedError

    # scope @node

    async def node_info(self, scope: str = "@n") -> dict[str, Any]:
        """How a node is."""
        return await self._ask("node_info()", scope)

    async def nodes_info(self, scope: str = "@n") -> list[dict[str, Any]]:
        """How all nodes are, as one node sees them."""
        return await self._ask("nodes_info()", scope)

    async def counters(self, scope: str = "@n") -> dict[str, Any]:
        """A node's counters."""
        return await self._ask("counters()", scope)

    async def reset_counters(self, scope: str = "@n") -> None:
        """Set a node's counters to zero."""
        await self._ask("reset_counters()", scope)

    async def set_log_level(self, log_level: str, scope: str = "@n") -> None:
        """A node's log level, such as `WARNING`."""
        if not log_level.isalpha():
            raise ValueError(f"{log_level!r} is no log level")
        await self._ask(f"set_log_level({log_level})", scope)

    async def shutdown(self, scope: str = "@n") -> None:
        """Shut a node down."""
        await self._ask("shutdown()", scope)

    async def backups_info(self, scope: str = "@n") -> list[dict[str, Any]]:
        """The backups that a node makes."""
        return await self._ask("backups_info()", scope)

    async def backup_info(self, backup_id: int, scope: str = "@n") -> dict[str, Any]:
        """One backup of a node."""
        return await self._ask("backup_info", scope, backup_id)

    async def backups_ok(self, scope: str = "@n") -> bool:
        """Whether all backups of a node succeeded."""
        return await self._ask("backups_ok()", scope)

    async def has_backup(self, backup_id: int, scope: str = "@n") -> bool:
        """Whether a node has this backup."""
        return await self._ask("has_backup", scope, backup_id)

    async def del_backup(self, backup_id: int, delete_files: bool = False, scope: str = "@n") -> None:
        """Stop a backup; its files are kept unless told otherwise."""
        await self._ask("del_backup", scope, backup_id, delete_files)

    async def new_backup(
        self,
        file_template: str,
        start_ts: datetime | None = None,
        repeat: int | None = 0,
        max_files: int | None = 7,
        scope: str = "@n",
    ) -> int:
        """Schedule a backup; the times are seconds."""
        start = None if start_ts is None else int(start_ts.timestamp())
        return await self._ask("new_backup", scope, file_template, start, repeat, max_files)

    # scope @thingsdb

    async def collections_info(self) -> list[dict[str, Any]]:
        """All collections."""
        return await self._ask("collections_info()")

    async def collection_info(self, collection: int | str) -> dict[str, Any]:
        """One collection."""
        return await self._ask("collection_info", "@t", collection)

    async def has_collection(self, name: str) -> bool:
        """Whether there is such a collection."""
        return await self._ask("has_collection", "@t", name)

    async def new_collection(self, name: str) -> str:
        """Make a collection."""
        return await self._ask("new_collection", "@t", name)

    async def rename_collection(self, collection: int | str, new_name: str) -> None:
        """Rename a collection."""
        await self._ask("rename_collection", "@t", collection, new_name)

    async def del_collection(self, collection: int | str) -> None:
        """Delete a collection and all that is in it."""
        await self._ask("del_collection", "@t", collection)

    async def set_time_zone(self, collection: int | str, zone: str) -> None:
        """A collection's time zone."""
        await self._ask("set_time_zone", "@t", collection, zone)

    async def time_zones_info(self) -> list[str]:
        """The time zones that the server knows."""
        return await self._ask("time_zones_info()")

    async def users_info(self) -> list[dict[str, Any]]:
        """All users."""
        return await self._ask("users_info()")

    async def user_info(self, user: str | None = None) -> dict[str, Any]:
        """One user; by default the one logged in."""
        return await (self._ask("user_info()") if user is None else self._ask("user_info", "@t", user))

    async def has_user(self, name: str) -> bool:
        """Whether there is such a user."""
        return await self._ask("has_user", "@t", name)

    async def new_user(self, name: str) -> str:
        """Make a user, without password and privileges."""
        return await self._ask("new_user", "@t", name)

    async def rename_user(self, name: str, new_name: str) -> None:
        """Rename a user."""
        await self._ask("rename_user", "@t", name, new_name)

    async def del_user(self, name: str) -> None:
        """Delete a user."""
        await self._ask("del_user", "@t", name)

    async def set_password(self, user: str, new_password: str | None = None) -> None:
        """A user's password; None takes it away."""
        await self._ask("set_password", "@t", user, new_password)

    async def grant(self, target: int | str, user: str, mask: int) -> None:
        """Give a user privileges on a scope."""
        await self._ask("grant", "@t", target, user, mask)

    async def revoke(self, target: int | str, user: str, mask: int) -> None:
        """Take privileges on a scope from a user."""
        await self._ask("revoke", "@t", target, user, mask)

    async def new_token(
        self, user: str, expiration_time: datetime | None = None, description: str = ""
    ) -> str:
        """Make a token for a user."""
        expires = None if expiration_time is None else int(expiration_time.timestamp())
        return await self._ask("new_token", "@t", user, expires, description)

    async def has_token(self, token: str) -> bool:
        """Whether there is such a token."""
        return await self._ask("has_token", "@t", token)

    async def del_token(self, key: str) -> None:
        """Delete a token."""
        await self._ask("del_token", "@t", key)

    async def del_expired(self) -> None:
        """Delete all expired tokens."""
        await self._ask("del_expired()")

    async def new_node(self, secret: str, name: str, port: int | None = 9220) -> int:
        """Add a node; returns its id."""
        return await self._ask("new_node", "@t", secret, name, port)

    async def has_node(self, node_id: int) -> bool:
        """Whether there is such a node."""
        return await self._ask("has_node", "@t", node_id)

    async def del_node(self, node_id: int) -> None:
        """Remove a node."""
        await self._ask("del_node", "@t", node_id)

    async def restore(self, filename: str, options: dict[str, Any] | None = None) -> None:
        """Restore from a backup file."""
        await self._ask("restore", "@t", filename, options or {})

    async def modules_info(self) -> list[dict[str, Any]]:
        """All modules."""
        return await self._ask("modules_info()")

    async def module_info(self, name: str) -> dict[str, Any]:
        """One module."""
        return await self._ask("module_info", "@t", name)

    async def has_module(self, name: str) -> bool:
        """Whether there is such a module."""
        return await self._ask("has_module", "@t", name)

    async def new_module(self, name: str, source: str, configuration: Any = None) -> None:
        """Add a module."""
        await self._ask("new_module", "@t", name, source, configuration)

    async def deploy_module(self, name: str, data: bytes | str | None = None) -> None:
        """Deploy a module's code."""
        await self._ask("deploy_module", "@t", name, data)

    async def refresh_module(self, name: str) -> None:
        """Read a module's source again."""
        await self._ask("refresh_module", "@t", name)

    async def restart_module(self, name: str) -> None:
        """Restart a module."""
        await self._ask("restart_module", "@t", name)

    async def rename_module(self, name: str, new_name: str) -> None:
        """Rename a module."""
        await self._ask("rename_module", "@t", name, new_name)

    async def set_module_conf(self, name: str, configuration: dict[str, Any] | None = None) -> None:
        """A module's configuration."""
        await self._ask("set_module_conf", "@t", name, configuration)

    async def set_module_scope(self, name: str, scope: str | None) -> None:
        """The scope that a module is restricted to."""
        await self._ask("set_module_scope", "@t", name, scope)

    async def del_module(self, name: str) -> None:
        """Remove a module."""
        await self._ask("del_module", "@t", name)

    async def _ask(self, function: str, scope: str = "@t", *args: Any) -> Any:
        """Call a function by name, its arguments passed as variables and never pasted into code."""
        if function.endswith(")"):
            return await self.query(f"{function};", scope=scope)
        names = [f"arg{i}" for i in range(len(args))]
        code = f"{function}({', '.join(names)});"
        return await self.query(code, scope=scope, **dict(zip(names, args, strict=True)))
