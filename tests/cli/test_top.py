"""`tdbwatch top`: what it shows of a daemon, and that the terminal is given back as it was."""

import codecs
import json
import math
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbwatch.cli import app
from tdbwatch.cli.terminal import width_of
from tdbwatch.cli.top import command as top
from tdbwatch.cli.top.screen import COLOURS, screen
from tdbwatch.daemon.couriers import Counts
from tdbwatch.daemon.spool.looking.stats import Letters
from tdbwatch.daemon.status.document import document
from tdbwatch.daemon.status.pages import front
from tdbwatch.daemon.status.snapshot import Snapshot
from tests.daemon.status.status_moments import FINE, HOSTILE, NODE, NOW, ROOM, SECOND, SPOOL, sink

EVIL = f"{HOSTILE}\x1b[2J\n\u202e\u0301" + "x" * 500
TROUBLE = replace(
    FINE,
    nodes=(NODE, replace(NODE, address="node02:9200", state="unreachable", trouble="Connection refused")),
    rooms=(ROOM, *(replace(ROOM, name=f"room{n}", state="missing", required=False) for n in range(7))),
    sinks=(
        sink(state="paused", lag=1_234, last_error="HTTP 410 Gone", oldest_us=NOW - 90 * SECOND),
        sink(Letters(3, "too large"), sink="audit"),
    ),
    spool=replace(SPOOL, trouble="database or disk is full", held=5, dropped=2),
)
WICKED = replace(
    FINE,
    host=EVIL,
    rooms=(replace(ROOM, name=EVIL, state="refused", reason=EVIL),) * 3,
    sinks=(sink(sink=EVIL, state="retrying", probing=True, last_error=EVIL),) * 3,
)


def status(snapshot: Snapshot) -> dict[str, Any]:
    """As it comes over the wire."""
    made: dict[str, Any] = json.loads(json.dumps(document(snapshot)))
    return made


def texts(now: dict[str, Any], *args: Any) -> list[str]:
    return ["".join(cell.text for cell in line) for line in screen(now, *(args or (None, None, None)))]


def test_it_shows_rooms_sinks_links_and_the_spool() -> None:
    assert texts(status(FINE)) == [
        "tdbwatch on watch01  1.0, up 1 h",
        "All is well: Events come in, are kept, and go out.",
        "Links  1 of 1 connected  node01:9200 connected",
        "Spool  4.0 KiB of 1.0 GiB, 10 entries",
        "",
        "Room    State   Events  Rate  Last event  Reason",
        "alerts  joined      10     -  1 s ago     -",
        "",
        "Sink    State    Delivered  Rate  Lag  Oldest  Last error",
        "oncall  running         10     -    0  -       -",
    ]


def test_what_is_wrong_is_said_in_the_words_of_the_page() -> None:
    shown = "\n".join(texts(status(TROUBLE)))
    assert "Trouble: Not ready, because of this:" in shown
    said = unescape(front.render(TROUBLE))
    for words in (
        "1 of 1 connected",
        "unreachable",
        "There is no such room",
        "HTTP 410 Gone",
        "Dead letter: too large",
        "database or disk is full",
        "paused",
        "1 min 30 s ago",
        "Paused. Waiting for it: 1,234 events.",
    ):
        assert words in shown
        assert words in said


def test_rates_are_taken_between_two_looks_at_one_daemon() -> None:
    later = replace(
        FINE,
        taken_us=NOW + 4 * SECOND,
        rooms=(replace(ROOM, received=1_010), replace(ROOM, name="new", received=5)),
        sinks=(sink(counts=Counts(delivered=12)),),
    )
    shown = texts(status(later), status(FINE), None, None)
    assert [line.split()[3] for line in shown if line.startswith(("alerts", "new", "oncall"))] == [
        "250/s",
        "-",
        "0.5/s",
    ]
    restarted = replace(later, started_us=NOW)
    assert [
        line.split()[3] for line in texts(status(restarted), status(FINE), None, None) if line[:6] == "alerts"
    ] == ["-"]


def test_where_not_all_fit_what_is_wrong_and_busy_comes_first() -> None:
    rooms = tuple(replace(ROOM, name=f"room{n:03}", received=n) for n in range(200))
    now = replace(FINE, taken_us=NOW + SECOND, rooms=(*rooms, replace(ROOM, name="lost", state="deleted")))
    before = replace(FINE, rooms=tuple(replace(room, received=0) for room in rooms))
    shown = texts(status(now), status(before), 80, 20)
    assert len(shown) == 20
    names = [line.partition(" ")[0] for line in shown[shown.index("") + 2 :]]
    assert names[:3] == ["lost", "room199", "room198"]
    assert any(line.startswith("  and 19") and line.endswith("more rooms") for line in shown)
    assert shown[-1].startswith("oncall"), "every part is seen"


@settings(max_examples=150)
@given(st.sampled_from([FINE, TROUBLE, WICKED]), st.integers(1, 250), st.integers(1, 60), st.booleans())
def test_it_fits_any_terminal_and_steers_none(moment: Snapshot, width: int, height: int, twice: bool) -> None:
    now = status(moment)
    cells = screen(now, now if twice else None, width, height, "q ends")
    lines = ["".join(cell.text for cell in line) for line in cells]
    assert {cell.colour for line in cells for cell in line} <= {"", *COLOURS}
    assert len(lines) <= height
    assert all(width_of(line) <= width for line in lines), lines
    assert all(line.isprintable() for line in lines)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*document(TROUBLE), *document(TROUBLE)["rooms"][0], "name"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(list(document(TROUBLE))), JSON))
def test_a_daemon_of_another_version_is_shown_as_far_as_it_is_understood(changes: dict[str, Any]) -> None:
    lines = texts({**status(TROUBLE), **changes}, status(TROUBLE), 80, 24)
    assert len(lines) <= 24


@pytest.mark.parametrize("odd", [None, [], {"a": 1}, -1, 10**400, math.inf, math.nan, "9999-12-31T23:59:59Z"])
def test_no_single_value_is_taken_for_granted(odd: object) -> None:
    plain = status(TROUBLE)
    for part, found in plain.items():
        inner = found[0] if isinstance(found, list) and found else found
        for key in inner if isinstance(inner, dict) else ():
            changed = {**inner, key: odd}
            made = [changed] * 9 if isinstance(found, list) else changed
            for before in (None, plain):
                assert len(texts({**plain, part: made}, before, 12, 3)) <= 3
        texts({**plain, part: odd}, plain, 80, 24)


# -- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def daemon() -> Iterator[Callable[[int, bytes], str]]:
    """Answers so at /status.json; gives its URL."""
    servers = []

    def answer(code: int, body: bytes, token: str = "") -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = not token or self.headers["Authorization"] == f"Bearer {token}"
                self.send_response(code if known else 401)
                self.end_headers()
                self.wfile.write(body if known else b"")

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield answer
    for server in servers:
        server.shutdown()
        server.server_close()


def test_in_a_pipe_it_prints_one_snapshot(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["top", "--url", daemon(200, json.dumps(document(TROUBLE)).encode())]) == 0
    assert capsys.readouterr().out.splitlines() == texts(status(TROUBLE))


def test_it_finds_the_daemon_and_the_token_in_the_configuration(
    daemon: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = daemon(200, json.dumps(document(FINE)).encode(), "s3cret-token")
    config, token = tmp_path / "prod.yaml", tmp_path / "token"
    token.write_text("s3cret-token\n")
    token.chmod(0o600)
    port = url.rpartition(":")[2]

    def configured(section: str) -> int:
        config.write_text(f"http: {section}\nsinks: nonsense")
        config.chmod(0o600)
        return app.main(["top", "--config", str(config)])

    assert configured(f"{{listen: '0.0.0.0:{port}', token_file: token}}") == 0
    assert "All is well" in capsys.readouterr().out
    assert configured(f"{{listen: '127.0.0.1:{port}', token_credential: web}}") == 69
    assert "wants another token: give --token-file" in capsys.readouterr().err
    assert app.main(["top", "--config", str(config), "--token-file", str(token)]) == 0
    other = daemon(200, b"you said s3cret-token").rpartition(":")[2]
    for words in ([], ["--token-file", str(token)]):
        config.write_text(f"http: {{listen: '127.0.0.1:{other}', token: s3cret-token}}")
        assert app.main(["top", "--config", str(config), *words]) == 69
        assert "and no status: you said ****" in capsys.readouterr().err
    capsys.readouterr()
    for section, said in (("{listen: 5}", "this is not host:port"), ("", "has no section http")):
        assert configured(section) == 78
        assert said in capsys.readouterr().err


def test_what_is_no_daemon_is_69(daemon: Any, closed_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    for url, said in (
        (f"http://127.0.0.1:{closed_port}", "Connection refused; does it run?"),
        (daemon(200, b"<html>\x1b[2J"), "answers 200, and no status: <html>\\x1b[2J"),
        (daemon(200, b"[" * 100_000), "and no status: [[["),
        (daemon(200, b"{}"), "answers 200, and no status: {}"),
        (daemon(421, b"not ours"), "answers 421, and no status: not ours"),
        ("http://no host/", "URL can't contain control characters"),
        ("http://\udcff/", "no daemon answers at http://\\udcff:80"),
    ):
        assert app.main(["top", "--url", url]) == 69
        assert said in capsys.readouterr().err
    assert app.main(["reload", "--url", daemon(200, b'{"verdict": "ok"}')]) == 69
    assert "and no verdict" in capsys.readouterr().err
    for words in (["--url", "ftp://x"], ["--url", "http://[x"], ["--url", "http://x", "--interval", "0"]):
        assert app.main(["top", *words]) == 64


class Terminal:
    """A terminal with the command on it."""

    def __init__(
        self, url: str, code: str = "from tdbwatch.cli.app import main; sys.exit(main())", **environ: str
    ):
        self.ours, self._theirs = pty.openpty()
        termios.tcsetwinsize(self._theirs, (12, 60))
        self.before = termios.tcgetattr(self._theirs)
        words = [sys.executable, "-c", f"import sys; {code}", "top", "--url", url, "--interval", "0.1"]
        env = {**os.environ, "TERM": "xterm", **environ}
        self.process = subprocess.Popen(
            words,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env=env,
            start_new_session=True,
        )
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def shows(self, words: str) -> None:
        deadline = time.monotonic() + 30
        while words not in self.text:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.ours], [], [], left)[0], self.text  # noqa: PT018
            self.text += self._decoder.decode(os.read(self.ours, 65536))

    def resize(self, lines: int, columns: int) -> None:
        termios.tcsetwinsize(self._theirs, (lines, columns))
        self.process.send_signal(signal.SIGWINCH)
        self.text = ""

    def end(self) -> int:
        """The exit code, after the terminal was found as it was."""
        self.shows("\x1b[?25h\x1b[?1049l")
        code = self.process.wait(30)
        assert termios.tcgetattr(self._theirs) == self.before
        os.close(self._theirs)
        os.close(self.ours)
        return code


@pytest.fixture
def url(daemon: Any) -> str:
    found: str = daemon(200, json.dumps(document(replace(FINE, host="a" * 80))).encode())
    return found


def test_on_a_terminal_it_lives_and_q_ends_it(url: str) -> None:
    terminal = Terminal(url)
    terminal.shows("\x1b[?1049h\x1b[?25l")
    terminal.shows("\x1b[32mAll is well\x1b[0m")
    terminal.shows("q ends")
    assert "a" * 50 not in terminal.text
    terminal.resize(20, 100)
    terminal.shows("a" * 80)
    os.write(terminal.ours, b"q")
    assert terminal.end() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_ctrl_c_and_a_signal_give_the_terminal_back(url: str, number: signal.Signals, code: int) -> None:
    terminal = Terminal(url, NO_COLOR="1")
    terminal.shows("All is well")
    assert "\x1b[32m" not in terminal.text
    terminal.process.send_signal(number)
    assert terminal.end() == code


def test_a_crash_gives_the_terminal_back_and_is_told_after_that(url: str) -> None:
    code = "from tdbwatch.cli import app; from tdbwatch.cli.top import command as top; "
    code += "top._text = lambda line: 1 / 0; sys.exit(app.main())"
    terminal = Terminal(url, code, PYTHON_COLORS="0")  # from 3.13 on, Python colours its tracebacks
    terminal.shows("ZeroDivisionError: ")
    assert terminal.text.index("\x1b[?1049l") < terminal.text.index("Traceback")
    assert terminal.end() == 1


def test_while_nobody_answers_the_last_status_stays_with_its_age() -> None:
    answers: list[dict[str, Any] | top.SilentError] = [
        top.SilentError("no daemon"),
        status(replace(FINE, host="b")),
    ]

    class Port:
        def status(self) -> dict[str, Any]:
            answer = answers.pop(0)
            if isinstance(answer, top.SilentError):
                raise answer
            return answer

    class Screen:
        def wake(self) -> None:
            """Is told."""

    looking = top._Looking(Port(), status(FINE), 1.0, Screen())  # type: ignore[arg-type]
    assert looking.found()[2] == "q ends"
    looking.look()
    now, before, remark = looking.found()
    assert (now["host"], before) == ("watch01", None)
    assert remark.startswith("no daemon (for ")
    looking.look()
    now, before, remark = looking.found()
    assert (now["host"], before, remark) == ("b", status(FINE), "q ends")
