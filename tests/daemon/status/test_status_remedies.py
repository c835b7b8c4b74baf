"""Each problem says what to do about it, in words that can be followed and commands that can be pasted."""

import random
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tdbwatch import exceptions
from tdbwatch.cli.app import main
from tdbwatch.daemon.couriers.answer import VerdictError
from tdbwatch.daemon.couriers.breaker import Breaker
from tdbwatch.daemon.couriers.health import Health
from tdbwatch.daemon.deadline import DeadlineError
from tdbwatch.daemon.delivery.retry import RetryPolicy
from tdbwatch.daemon.hosting.faults import describe
from tdbwatch.daemon.hosting.sink_thread import SinkExitError
from tdbwatch.daemon.plugins import PluginProblem
from tdbwatch.daemon.plugins.absent import AbsentError
from tdbwatch.daemon.security.trust import judge
from tdbwatch.daemon.spool.looking.stats import Letters
from tdbwatch.daemon.spool.sqlite import SqliteSpool
from tdbwatch.daemon.status.document import document
from tdbwatch.daemon.status.health import problems
from tdbwatch.daemon.status.pages import front
from tdbwatch.daemon.status.remedies import room
from tdbwatch.daemon.status.spans import closed
from tdbwatch.testing import ManualClock

from .status_moments import BROKEN, FINE, GAP, HOSTILE, NODE, NOW, ROOM, SECOND, SPOOL, STUCK, sink

LOST_ROOM = replace(GAP, cause="connection", reason="Connection refused", dropped=None)
DOWN = replace(NODE, state="unreachable", trouble="Connection refused")


def remedy(**changes: Any) -> str:
    """What to do, where one thing is wrong."""
    [problem] = problems(replace(FINE, **changes))
    return problem.remedy


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"nodes": (replace(NODE, state="connecting"),)}, "Start a node, or mend the network"),
        ({"nodes": (NODE, replace(DOWN, address="node02:9200"))}, "Start the node, or mend the network"),
        ({"links_wanted": 2}, "Start another node"),
        ({"nodes": (NODE, replace(DOWN, state="refusing"))}, "See that the user or token of thingsdb.auth"),
        ({"rooms": (replace(ROOM, state="missing", remedy="Make it."),)}, "Make it."),
        ({"sinks": (sink(state="stuck"),)}, "Restart the daemon, and mend the plugin."),
        ({"sinks": (sink(state="paused"),)}, "has it tried at once."),
        (
            {"sinks": (sink(state="retrying", probing=True, failures=7),)},
            "it goes on by itself, or at once after `tdbwatch spool wake",
        ),
        ({"sinks": (sink(Letters(1, "bad")),)}, "once the sink is mended"),
        ({"sinks": (sink(oldest_us=NOW - 301 * SECOND),)}, "See what waits"),
        (
            {"spool": replace(SPOOL, trouble="disk full")},
            "Make space or mend the disk, or the sink that is behind",
        ),
        ({"spool": replace(SPOOL, trouble="its log", log_grew=1 << 28)}, "end that process"),
        ({"spool": replace(SPOOL, log_grew=1 << 28)}, "`fuser -v /var/lib/tdbwatch/spool.db`"),
        ({"spool": replace(SPOOL, dropped=1, last_drop_us=NOW)}, "Mend the sink that is behind"),
        ({"spans": (closed(GAP),)}, "Mend the sink that is behind"),
        ({"spans": (closed(GAP), closed(LOST_ROOM))}, "Ask for what was emitted meanwhile"),
        ({"plugin_problems": (BROKEN,)}, "plugins.disable"),
        ({"resting": (STUCK,)}, "restart the daemon"),
        ({"resting": (replace(STUCK, state="slow"),)}, "answer from memory"),
        ({"phase": "failed"}, "report the log's traceback"),
    ],
)
def test_what_is_to_be_done_about_it_is_said_beside_it(changes: dict[str, Any], text: str) -> None:
    assert text in remedy(**changes)
    assert document(replace(FINE, **changes))["problems"][0]["remedy"] == remedy(**changes)


RIGHT = (
    "user `watcher` is missing the required privileges (`QUERY`) on scope `@collection:ops`; see https://..."
)
WHITELIST = "no match in whitelist for room `alerts`"


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        ("refused", exceptions.ForbiddenError(RIGHT), "Grant the user QUERY on //ops"),
        ("refused", exceptions.ForbiddenError(WHITELIST), "whitelist"),
        ("refused", exceptions.NodeError("not ready"), "Wait until the node is ready"),
        (
            "refused",
            exceptions.ZeroDivisionError("division or modulo by zero"),
            "what the room's code asks for",
        ),
        ("missing", exceptions.LookupError("no such room"), "Make the room in ThingsDB"),
        ("deleted", None, "Make the room again"),
        ("waiting", None, "tried again by itself"),
        ("leaving", None, "joined there by itself"),
    ],
)
def test_what_lets_a_room_in_depends_on_what_keeps_it_out(
    state: str, error: Exception | None, text: str
) -> None:
    assert text in room(state, "//ops", error, by_code=True)


def test_a_room_that_is_joined_needs_nothing() -> None:
    assert room("joined", "//ops", None, by_code=False) == ""


COMMANDS = [
    ({"sinks": (sink(Letters(1, "bad"), sink="on call"),)}, ["spool list --dead", "spool requeue"]),
    ({"sinks": (sink(Letters(), sink="on call", state="paused"),)}, ["spool wake 'on call'"]),
    ({"sinks": (sink(None, sink="on call", oldest_us=NOW - 301 * SECOND),)}, ["spool list --limit 0"]),
]


@pytest.mark.parametrize(("changes", "words"), COMMANDS)
async def test_commands_can_be_pasted_into_a_shell(
    changes: dict[str, Any], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "it's a place" / "spool.db"
    spool = SqliteSpool(path)
    await spool.open()
    spool.save("on call", 0, {})
    await spool.flush()
    await spool.close()
    commands = re.findall("`(.*?)`", remedy(spool=replace(SPOOL, path=str(path)), **changes))
    assert len(commands) == len(words)
    assert all(command.startswith(f"tdbwatch {each}") for command, each in zip(commands, words, strict=True))
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err


def test_the_page_shows_commands_as_code_and_the_json_leaves_the_text() -> None:
    snapshot = replace(FINE, sinks=(sink(Letters(1, "bad")),))
    shown = front.render(snapshot)
    assert f"<code>tdbwatch spool list --dead --sink oncall --spool {SPOOL.path}</code>;" in shown
    assert "`" not in re.sub("<script>.*</script>", "", shown, flags=re.DOTALL)
    assert "<" not in document(snapshot)["problems"][0]["remedy"]


def test_a_path_with_backticks_and_markup_in_it_stays_text() -> None:
    snapshot = replace(FINE, spool=replace(SPOOL, path=f"`{HOSTILE}`"), sinks=(sink(Letters(1, "bad")),))
    assert "<img" not in front.render(snapshot)


class Unexpected(Exception):
    """Of a library, nobody knows what it means."""


@pytest.mark.parametrize(
    ("error", "mistake"),
    [
        (ZeroDivisionError("division by zero"), True),
        (KeyError("severity"), True),
        (AssertionError(), True),
        (VerdictError("it returned a str"), True),
        (SinkExitError("it raised SystemExit"), True),
        (AbsentError("its plugin did not load"), True),
        (DeadlineError(5), False),
        (ConnectionRefusedError(111, "Connection refused"), False),
        (TimeoutError(), False),
        (ExceptionGroup("unhandled errors", [ValueError()]), False),
        (Unexpected("connection unexpectedly closed"), False),
        (UserWarning("the queue is full"), False),
    ],
)
def test_a_plugins_own_mistake_is_told_from_what_it_talks_to(error: Exception, mistake: bool) -> None:
    health = Health("mine", "mine", Breaker(RetryPolicy(), 5, random.Random(1)), ManualClock())
    health.erred("sink.failed", str(error), error)
    failing = sink(state="retrying", probing=True, failures=7, mistake=health.facts.mistake, plugin="mine")
    said = remedy(sinks=(failing,))
    assert ("the mistake is its own; then restart" in said) == mistake
    assert ("Mend what it talks to" in said) != mistake
    health.worked()
    assert not health.facts.mistake


def test_an_exception_of_ours_is_said_without_its_name() -> None:
    assert describe(DeadlineError(5)) == "no answer within 5 s"
    assert describe(ValueError("no")) == "ValueError: no"


def test_a_plugins_problem_names_it_and_its_place_once() -> None:
    snapshot = replace(FINE, plugin_problems=(BROKEN,))
    reader = re.sub("<[^>]*>", "", front.render(snapshot))
    assert "Plugin typo:it cannot be imported: SyntaxError (/etc/tdbwatch/plugins.d/typo.py:3)To do" in reader


def test_a_plugins_function_that_is_not_called_is_named_for_as_long_as_that_lasts() -> None:
    for one, words in (
        (STUCK, "Its function owner is stuck: a call has not come back for 1 min 30 s."),
        (replace(STUCK, state="slow", kind="filter"), "Its filter owner is too slow: it is not called, and"),
    ):
        snapshot = replace(FINE, resting=(one,))
        assert f"Plugin geo:{words}" in re.sub("<[^>]*>", "", front.render(snapshot))
        [said] = document(snapshot)["plugin_functions"]
        assert said == {
            "plugin": "geo",
            "kind": one.kind,
            "name": "owner",
            "state": one.state,
            "seconds": 90.0,
        }
    assert document(FINE)["plugin_functions"] == []


def test_what_a_plugins_problem_says_of_its_remedy_is_its_remedy() -> None:
    distrust = judge(Path("/etc/p/ww.py"), 0, 0o666, 1000)
    assert distrust is not None
    told = PluginProblem("ww", "/etc/p/ww.py", distrust.reason, remedy=distrust.remedy)
    [problem] = problems(replace(FINE, plugin_problems=(told,)))
    assert (problem.name, problem.text) == ("ww", "/etc/p/ww.py is writable by everyone")
    assert problem.remedy == "Run `chmod go-w /etc/p/ww.py`; then restart."


@pytest.mark.parametrize("own", ["make it, or take it out of plugins.paths", "rename this one"])
def test_a_remedy_that_a_plugins_problem_has_already_is_not_followed_by_another(own: str) -> None:
    [problem] = problems(replace(FINE, plugin_problems=(PluginProblem("p", "", "no good", remedy=own),)))
    assert problem.text == "no good"
    assert problem.remedy.lower() == f"{own}; then restart."


def test_the_json_names_a_plugins_place_once() -> None:
    twice = PluginProblem("ww", "/etc/p/ww.py", "/etc/p/ww.py is writable by everyone")
    assert document(replace(FINE, plugin_problems=(twice, BROKEN)))["plugin_problems"] == [
        "plugin ww: /etc/p/ww.py is writable by everyone",
        "plugin typo: it cannot be imported: SyntaxError (/etc/tdbwatch/plugins.d/typo.py:3)",
    ]


def test_when_a_sink_is_tried_next_is_said_unless_it_is_stuck() -> None:
    def said(**courier: Any) -> str:
        return problems(replace(FINE, sinks=(sink(last_error="no", **courier),)))[0].text

    later = {"next_try_us": NOW + 90 * SECOND, "lag": 2}
    assert "Next try at 08:01:30 UTC, in 1 min 30 s. It says: no" in said(state="paused", **later)
    assert "Next try at 08:01:30 UTC, in 1 min 30 s." in said(state="retrying", probing=True, **later)
    assert "It is being tried now." in said(state="retrying", probing=True, in_flight=1)
    assert "Next try: with its next event." in said(state="paused")
    assert "ext try" not in said(state="stuck", **later)


def test_a_sink_that_refuses_all_is_shown_with_what_it_answered() -> None:
    refusing = sink(state="refusing", refused_in_row=7, last_refusal="HTTP 401: unknown token")
    [problem] = problems(replace(FINE, sinks=(refusing,)))
    assert problem.text.endswith("the last 7 events in a row. It answered: HTTP 401: unknown token")
