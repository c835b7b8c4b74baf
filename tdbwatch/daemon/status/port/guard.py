"""What stands before every address of the status server: names, bodies, the token."""

from collections.abc import Callable, Iterator
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import SecretStr
from yarl import URL

from tdbwatch.daemon.status.port.access import CHALLENGE, OPEN, shows

_NOT_OURS: Final = "421 the Host header names another host; http.hosts lists those that are ours\n"
_REFUSED: Final = "401 send http.token as `Authorization: Bearer`, or as the password of any user\n"


class Guard:
    """Refuses what should not be asked, and who may not ask.

    Args:
        is_ours: whether a `Host` header names us.
        token: what whoever asks must know; None: nothing.
        refused: told of a request of which the sender does not.
    """

    def __init__(
        self,
        is_ours: Callable[[str], bool],
        token: Callable[[], SecretStr | None],
        refused: Callable[[str | None], None],
    ) -> None:
        self._is_ours = is_ours
        self._token = token
        self._refused = refused

    @property
    def has_token(self) -> bool:
        """Whether who asks for more than a word is known: then what events carry may be shown."""
        return self._token() is not None

    def may(self, request: web.Request) -> bool:
        """Whether the sender knows the token."""
        return shows(self._token(), request.headers.getall("Authorization", ()))

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse bodies, other hosts' names, and whoever does not know the token."""
        if not all(map(self._is_ours, _hosts_of(request))):
            response: web.StreamResponse = web.Response(status=421, text=_NOT_OURS)
        elif request.body_exists:
            response = web.Response(status=413, text="no address here takes a body\n")
            response.force_close()
        elif request.path not in OPEN and not self.may(request):
            self._refused(request.remote)
            response = web.Response(status=401, text=_REFUSED, headers={"WWW-Authenticate": CHALLENGE})
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=f"{error.status} {error.reason}\n")
                if allowed := error.headers.get("Allow"):
                    response.headers["Allow"] = allowed
        return response


def _hosts_of(request: web.Request) -> Iterator[str]:
    """Every name by which a request asks for us: a request line may have one, too (RFC 9112, 3.2.2)."""
    yield from request.headers.getall("Host", ())
    if not request.raw_path.startswith("/"):
        yield URL(request.raw_path, encoded=True).raw_authority
