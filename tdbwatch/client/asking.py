"""What a client asks the server: to run code or a procedure, or to emit."""

from collections.abc import Coroutine
from typing import Any

from tdbwatch.client.admin import Admin
from tdbwatch.client.code import strip_code
from tdbwatch.client.core import Core
from tdbwatch.wire import Kind


class Asking(Admin):
    """Mixed into `Client`. Nothing is sent before what is returned is awaited or made a task."""

    def __init__(self, core: Core) -> None:
        self.__tdbwatch__ = core

    def get_default_scope(self) -> str:
        """The scope of queries that name none."""
        return self.__tdbwatch__.scope

    def set_default_scope(self, scope: str) -> None:
        """Change the default scope, at first `@t`. Write for instance `//stuff` or `@:stuff`."""
        if not scope.startswith(("@", "/")):
            raise ValueError(f"{scope!r} is no scope; scopes start with @ or /, such as //stuff")
        self.__tdbwatch__.scope = scope

    def query(
        self,
        code: str,
        scope: str | None = None,
        timeout: float | None = None,
        skip_strip_code: bool = False,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Run code, and return its result.

        Args:
            code: ThingsDB code; white space around it, and one comment before it, are cut off unless
                `skip_strip_code`.
            scope: where to run it, by default `get_default_scope()`.
            timeout: seconds until `TimeoutError`, from when it is awaited; None waits as long as the
                connection lives.
            kwargs: variables for the code.

        Raises:
            ThingsDBError: what the code raised, by class and code.
            TimeoutError: no answer within `timeout`; the code may have run or not.
            EncodeError: ThingsDB has no type for a variable. The code did not run.
            ConnectionLostError: the connection died meanwhile; the code may have run or not.
            NotConnectedError: there is no connection, and none is being made. The code did not run.
        """
        core = self.__tdbwatch__
        body: list[Any] = [core.scope_of(scope), code if skip_strip_code else strip_code(code)]
        if kwargs:
            body.append(kwargs)
        return core.request(Kind.QUERY, body, timeout)

    def run(
        self,
        procedure: str,
        *args: Any,
        scope: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Run a procedure, with arguments by position or by name, not both. Else as `query`."""
        if args and kwargs:
            raise ValueError("a procedure takes arguments by position or by name, not both")
        core = self.__tdbwatch__
        body: list[Any] = [core.scope_of(scope), procedure]
        if args or kwargs:
            body.append(list(args) or kwargs)
        return core.request(Kind.RUN, body, timeout)

    def emit(
        self,
        room: int | str,
        event: str,
        *args: Any,
        scope: str | None = None,
        peers_only: bool = False,
        timeout: float | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Emit an event to a room, by its id or name; `peers_only` leaves this connection out."""
        return self.__tdbwatch__.emit(scope, room, event, args, timeout, peers_only=peers_only)
