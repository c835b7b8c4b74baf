"""Configured secrets are not shown, whoever puts them into a text."""

import asyncio
import json
from io import StringIO

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tdbwatch.clock import SYSTEM_CLOCK
from tdbwatch.daemon.config import parse
from tdbwatch.daemon.hosting.faults import describe
from tdbwatch.daemon.intake.source import Source
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.security.secrets import secrets_in
from tdbwatch.daemon.spool.stored.blocks import Lane
from tdbwatch.daemon.status.journal import Journal
from tdbwatch.plugin import Kind, Options, Secret
from tdbwatch.redaction import MOST_SHOWN, SHORTEST, STARS, Redactor, presentable, redact
from tdbwatch.wire import decode


class Inner(Options):
    keys: tuple[Secret, ...] = ()


class Outer(Options):
    token: Secret
    public: str = "shown"
    inner: Inner = Inner()


def test_the_secrets_of_sinks_are_among_those_of_a_configuration() -> None:
    written = "sinks: {hook: {type: webhook, url: 'http://x', secret: whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ}}\n"
    base = "thingsdb: {nodes: [localhost], auth: {token: token-1}}\nrooms: [alerts]\n"
    config = parse((base + written).encode(), "prod.yaml", {}).config(load_plugins().sink_types)
    assert {"token-1", "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ"} <= set(secrets_in(config))


def test_every_secret_of_a_part_of_the_configuration_is_found() -> None:
    options = Outer(token=Secret("token-1"), inner=Inner(keys=(Secret("key-1"), Secret("key-2"))))
    assert sorted(secrets_in([options, {"more": Secret("token-2")}])) == [
        "key-1",
        "key-2",
        "token-1",
        "token-2",
    ]


def test_a_password_within_a_url_is_a_secret_of_its_own() -> None:
    found = list(secrets_in(Secret("https://hook:hunt%2Fer2@example.org/x")))
    assert found == ["https://hook:hunt%2Fer2@example.org/x", "hunt%2Fer2", "hunt/er2"]
    assert list(secrets_in(Secret("://[not a url"))) == ["://[not a url"]


@given(
    st.text(min_size=SHORTEST).filter(lambda s: len(s.splitlines()) == 1 and s.strip() == s),
    st.text(),
    st.text(),
)
def test_a_secret_is_gone_from_any_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.remember([secret])
    assume(not secret.isalpha())
    assert secret not in redactor(before + secret + after) or secret in "*" * 10


def test_a_short_secret_of_letters_is_hidden_where_it_is_a_word_of_its_own() -> None:
    redactor = Redactor()
    redactor.remember(["pass"])
    for text in ("pass", "'pass'", "admin:pass@db", "a_pass_b", "?t=%20pass&x", "'\\npass'", "PASS pass."):
        assert "pass" not in redactor(text), text
    for text in ("invalid username or password", "/etc/passwd", "bypass"):
        assert redactor(text) == text, "stars within it would tell what the secret is"


def test_a_long_secret_of_letters_is_hidden_everywhere() -> None:
    redactor = Redactor()
    redactor.remember(["correcthorse"])
    assert redactor("xcorrecthorsex") == f"x{STARS}x"


@pytest.mark.parametrize(
    "form", ['p\\"ss/w\\u00f6rd', 'p\\"ss\\/wörd', "p&quot;ss/wörd", "p%22ss%2Fw%C3%B6rd"]
)
def test_a_secret_is_found_as_json_html_and_urls_write_it(form: str) -> None:
    redactor = Redactor()
    redactor.remember(['p"ss/wörd'])
    assert redactor(f"the answer: {form}!") == f"the answer: {STARS}!"


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    redactor = Redactor()
    redactor.remember(["hush", "hush-hush"])
    assert "hush" not in redactor("it is hush-hush and hush")


def test_what_is_too_short_to_be_a_secret_stays() -> None:
    redactor = Redactor()
    redactor.remember(["a", ""])
    assert redactor("a cat") == "a cat"


def test_log_lines_and_tracebacks_show_no_secret() -> None:
    import structlog

    from tdbwatch.daemon import logs

    redact.remember(["SUPERSECRET-1"])
    out = StringIO()
    logs.configure("info", "json", out)
    try:
        raise RuntimeError("https://example.org/?t=SUPERSECRET-1")
    except RuntimeError as error:
        structlog.get_logger("x").error("failed", error=str(error), exc_info=error)
    assert "SUPERSECRET-1" not in out.getvalue()
    assert "RuntimeError" in json.loads(out.getvalue())["exception"]


def test_text_of_others_is_printable_cut_and_without_secrets_before_it_is_kept() -> None:
    redact.remember(["Geheimnis-0123456789"])
    assert presentable("no\n\x1b[2J\u202e\u200bGeheimnis-0123456789") == f"no\\n\\x1b[2J\\u202e\\u200b{STARS}"
    long = presentable("x" * 1_995 + "Geheimnis-0123456789" + "y" * 9_000_000)
    assert len(long) < 2_100
    assert "Geheim" not in long
    assert presentable("überlauf 日本") == "überlauf 日本"


def test_what_a_node_says_is_kept_so() -> None:
    journal = Journal(SYSTEM_CLOCK)
    evil = "no\n\x1b[2J\u202e" + "x" * 1_000_000
    journal.unreachable("n1:9200", evil)
    journal.recorded(Kind.NODE, evil, "", "", {"node": "n2:9200", "status": evil})
    journal.recorded(
        Kind.GAP,
        "gap",
        "//stuff",
        "alerts",
        {"since": None, "until": "2026-11-27T03:00:00Z", "reason": evil, "cause": "room", "dropped": None},
    )
    kept = [journal.nodes["n1:9200"].trouble, journal.nodes["n2:9200"].status, journal.gaps[0].reason]
    assert all(text.startswith("no\\n\\x1b[2J\\u202ex") and len(text) < 2_100 for text in kept)


def test_what_a_node_says_is_made_presentable_once_for_records_log_and_page() -> None:
    said, appended = [], []
    source = Source(appended.extend, SYSTEM_CLOCK, lambda *record: said.append(record))

    async def record() -> None:
        source.record(
            Kind.NODE, "REA\x1bDY" + "x" * 999, Lane("", ""), None, {"reason": "a\nb" * 9_999, "node_id": 3}
        )
        await asyncio.sleep(0)

    asyncio.run(record())
    [(_, event, _, _, details)] = said
    [(_, run)] = appended
    assert event == run.events[0]
    assert event.startswith(r"REA\x1bDYxx")
    assert len(event) <= 100
    assert details == decode(bytes(run.payloads[0]))
    assert details["reason"].startswith(r"a\nba\nb")
    assert len(details["reason"]) <= MOST_SHOWN
    assert details["node_id"] == 3


def test_what_is_presentable_stays_as_it_is() -> None:
    once = presentable("a\x1bb" * 9_999)
    assert presentable(once) == once
    assert len(once) <= MOST_SHOWN


def test_what_a_plugins_exception_says_is_kept_without_escapes_lines_and_megabytes() -> None:
    said = describe(RuntimeError("answer\n\x1b[2J\u202e" + "x" * 1_000_000))
    assert said.startswith(r"RuntimeError: answer\n\x1b[2J\u202exxx")
    assert len(said) <= MOST_SHOWN
