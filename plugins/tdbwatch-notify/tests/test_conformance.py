"""The sink does what the daemon expects of every sink."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from tdbwatch.plugin import Event
from tdbwatch.testing import SinkConformance, make_event

from tdbwatch_notify import NotifySink

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Apprise imports


class TestNotify(SinkConformance):
    sink = NotifySink

    @pytest.fixture(autouse=True)
    def _receiver(self, receiver: Any) -> None:
        self.receiver = receiver
        title = "{% if event == 'poison' %}poison{% else %}{{ event }}{% endif %}"
        url = receiver.url.replace("rto=20", "rto=1")  # so long a receiver that does not answer is waited for
        self.options = {"url": url, "title": title, "body": "{{ id }}", "timeout": "5s"}

    def delivered(self) -> Sequence[str]:
        return [message["message"] for message in self.receiver.messages]

    def failing(self, after: int) -> AbstractContextManager[None]:
        return self.receiver.failing(after)  # type: ignore[no-any-return]

    def stalled(self) -> AbstractContextManager[None]:
        return self.receiver.stalled()  # type: ignore[no-any-return]

    def poison(self) -> Event:
        return make_event("alerts", "poison")
