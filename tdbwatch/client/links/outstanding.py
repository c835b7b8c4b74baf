"""The requests that one link has sent and that have no answer yet."""

from collections.abc import Callable

from tdbwatch.client.addresses import Address
from tdbwatch.client.calls import Call
from tdbwatch.client.fail_file import dump_failed
from tdbwatch.exceptions import LocalProtocolError, NotConnectedError, from_wire
from tdbwatch.wire import ClientSession, Kind, Response
from tdbwatch.wire.codec import BodyError


class Outstanding:
    """Calls by the id of their request.

    Args:
        session: numbers the requests.
        fewer: called when one of them has ended.
    """

    def __init__(self, address: Address, session: ClientSession, fewer: Callable[[], None]) -> None:
        self._address = address
        self._session = session
        self._fewer = fewer
        self._calls: dict[int, Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def request(self, call: Call) -> bytes:
        """The bytes of a call's request, which waits for its answer from now on.

        Raises:
            NotConnectedError: the stream has failed, or every id is outstanding.
            EncodeError: the body cannot be encoded.
        """
        try:
            request_id, data = self._session.request(call.kind, call.body)
        except LocalProtocolError as error:
            raise NotConnectedError(f"{self._address}: {error}") from error
        self._calls[request_id] = call
        call.attempts += 1
        call.holder, call.waits_for = lambda _: self._forget(request_id), "its answer"
        return data

    def answered(self, response: Response) -> None:
        """An answer came."""
        call = self._calls.pop(response.id, None)
        if call is None:
            return
        if isinstance(response.value, BodyError):
            dump_failed(response.value.body)
            call.failed(response.value)
        elif response.kind == Kind.ERROR:
            call.failed(from_wire(response.value))
        else:
            call.answered(response.value)
        self._fewer()

    def lost(self, reason: Exception) -> None:
        """No answer can come any more."""
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.lost(self._address, reason)

    def _forget(self, request_id: int) -> None:
        self._session.forget(request_id)
        self._calls.pop(request_id, None)
        self._fewer()
