"""What users see of the sink: what it says, where, and what it says when it cannot."""

import email.policy
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from tdbwatch.plugin import DELIVERED, Rejected, Retry
from tdbwatch.testing import deliver, free_port, make_event

from tdbwatch_notify import NotifySink

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Apprise imports

EVENT = make_event("alerts", "disk-full", ["db1", 91])


def test_without_templates_it_says_what_happened_where(receiver: Any) -> None:
    named = make_event("alerts", "disk-full", ["db1"], arg_names=["host"])
    assert deliver(NotifySink, [EVENT, named], {"url": receiver.url}) == [DELIVERED] * 2
    told = [(one["title"], one["message"], one["type"]) for one in receiver.messages]
    assert told == [
        ("alerts: disk-full", '["db1", 91]', "info"),
        ("alerts: disk-full", '{"host": "db1"}', "info"),
    ]


def test_title_body_and_severity_are_templates(receiver: Any) -> None:
    options = {
        "url": receiver.url,
        "title": "Disk of {{ args[0] }}\n",
        "body": "{{ args[1] }} %",
        "severity": "{{ 'critical' if args[1] > 90 else 'ok' }}",
    }
    assert deliver(NotifySink, [EVENT, make_event("alerts", "x", ["db2", 5])], options) == [DELIVERED] * 2
    told = [(one["title"], one["message"], one["type"]) for one in receiver.messages]
    assert told == [("Disk of db1", "91 %", "failure"), ("Disk of db2", "5 %", "success")]


def test_what_an_event_says_is_only_text(receiver: Any) -> None:
    event = make_event("alerts", "x", ["<b>{{ 7 * 7 }}</b> \\n"])
    assert deliver(NotifySink, event, {"url": receiver.url, "body": "{{ args[0] }}"}) == [DELIVERED]
    assert receiver.messages[0]["message"] == "<b>{{ 7 * 7 }}</b> \\n"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_message_that_is_refused_is_rejected(status: int, receiver: Any) -> None:
    receiver.status = status
    (outcome,) = deliver(NotifySink, EVENT, {"url": receiver.url})
    assert isinstance(outcome, Rejected)
    assert f"error={status}" in outcome.reason


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_url_that_does_not_work_pauses_the_sink(status: int, receiver: Any) -> None:
    receiver.status = status
    (outcome,) = deliver(NotifySink, EVENT, {"url": receiver.url})
    assert isinstance(outcome, Retry)
    assert outcome.pause
    assert "mend `url`" in outcome.reason


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(status: int, receiver: Any) -> None:
    receiver.status = status
    (outcome,) = deliver(NotifySink, EVENT, {"url": receiver.url})
    assert isinstance(outcome, Retry)
    assert not outcome.pause
    assert f"error={status}" in outcome.reason


def test_a_service_that_is_not_there_is_tried_again_and_no_secret_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = f"json://watch:sesame-open@127.0.0.1:{free_port()}/?cto=1"
    (outcome,) = deliver(NotifySink, EVENT, {"url": url})
    assert isinstance(outcome, Retry)
    assert "127.0.0.1" in outcome.reason
    assert "sesame-open" not in outcome.reason + caplog.text


def test_an_event_without_text_is_rejected(receiver: Any) -> None:
    options = {"url": receiver.url, "title": "{{ args[7] }}", "body": ""}
    assert deliver(NotifySink, EVENT, options) == [Rejected("its templates make no text of this event")]


class Mails(socketserver.StreamRequestHandler):
    """Enough of SMTP to take a mail."""

    taken: list[bytes] = []  # noqa: RUF012

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().strip().upper():
            if line == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.taken.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.wfile.write(b"221 bye\r\n" if line == b"QUIT" else b"250 ok\r\n")


@pytest.fixture
def mail_server() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mails) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_it_sends_mails(mail_server: int) -> None:
    url = f"mailto://127.0.0.1:{mail_server}?from=watch@example.org&to=ops@example.org&mode=insecure"
    assert deliver(NotifySink, EVENT, {"url": url}) == [DELIVERED]
    mail = email.message_from_bytes(Mails.taken[-1], policy=email.policy.default)
    assert (mail["subject"], mail["to"]) == ("alerts: disk-full", "ops@example.org")
    assert '["db1", 91]' in mail.get_body().get_content()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "url"),
        ({"url": "example.org"}, "Apprise knows no such service, or misses something in the URL"),
        ({"url": "nosuch://sesame-open"}, "Apprise knows no such service"),
        ({"url": "slack://"}, "Apprise knows no such service"),
        ({"url": "json://h", "title": "{{ rom }}"}, "did you mean room?"),
        ({"url": "json://h", "format": "rtf"}, "format"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        deliver(NotifySink, EVENT, options)
    assert "sesame-open" not in str(caught.value)
