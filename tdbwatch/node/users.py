"""Users, tokens and what they may do."""

import hmac
from collections.abc import Collection as Names
from dataclasses import dataclass, field
from typing import Any

from tdbwatch import exceptions as errors
from tdbwatch.node.scopes import Scope


@dataclass(frozen=True, slots=True)
class User:
    """Who a connection is; `lacks` are privileges denied everywhere, `only` the scopes granted at all."""

    name: str
    password: str = field(repr=False)
    lacks: frozenset[str] = frozenset()
    only: Names[Scope] | None = None

    def require(self, privilege: str, scope: Scope) -> None:
        """Raise unless the user has `privilege` (`QUERY`, `CHANGE`, `RUN`, `JOIN`) on `scope`.

        Raises:
            ForbiddenError: (-55) worded as in the recording `forbidden`.
        """
        if privilege in self.lacks or (self.only is not None and scope not in self.only):
            raise errors.ForbiddenError(
                f"user `{self.name}` is missing the required privileges (`{privilege}`) on scope `{scope}`; "
                "see https://docs.thingsdb.io/v1/thingsdb-api/grant"
            )


class Users:
    """Everyone who may authenticate."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._tokens: dict[str, str] = {}

    def add(self, user: User) -> None:
        self._users[user.name] = user

    def add_token(self, token: str, name: str) -> None:
        """Let `token` stand for the user `name`.

        Raises:
            LookupError: (-54) no such user.
        """
        if name not in self._users:
            raise errors.LookupError(f"user `{name}` not found")
        self._tokens[token] = name

    def revoke_token(self, token: str) -> None:
        """From now on it stands for nobody; whoever logged in with it stays."""
        self._tokens.pop(token, None)

    def authenticate(self, body: Any) -> User:
        """The user that the body of an AUTH stands for (errors as in the recording `handshake`).

        Raises:
            AuthError: (-56) wrong user, password or token.
            BadDataError: (-53) neither `[user, password]` nor a token.
        """
        match body:
            case [str() as name, str() as password]:
                user = self._users.get(name)
                if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
                    raise errors.AuthError("invalid username or password")
                return user
            case str() as token:
                if token not in self._tokens:
                    raise errors.AuthError("invalid token")
                return self._users[self._tokens[token]]
        raise errors.BadDataError("invalid authentication request")
