"""The thingsdb sink on real nodes: what a procedure gets, and what ThingsDB's errors mean for the event."""

import re
from pathlib import Path

import pytest

from tdbwatch.clock import SYSTEM_CLOCK
from tdbwatch.daemon.hosting.echoes import Echoes
from tdbwatch.daemon.hosting.reacting import Reacting
from tdbwatch.plugin import DELIVERED, Rejected, Retry, SinkClient, SinkContext
from tdbwatch.sinks.thingsdb import ThingsDBOptions, ThingsDBSink
from tdbwatch.testing import make_event

pytestmark = pytest.mark.real

EVENT = make_event("alerts", "disk-full", [{"host": "db1"}, 91])


@pytest.fixture
def deliver(watcher, scopes):
    async def deliver(event=EVENT, scope=scopes[0], **options):
        made = ThingsDBOptions.model_validate({"scope": scope, "timeout": "10s", **options})
        client = SinkClient(Reacting(watcher, Echoes(SYSTEM_CLOCK)).way(10))
        (outcome,) = await ThingsDBSink(made, SinkContext("react", client=client)).deliver([event])
        return outcome

    return deliver


@pytest.fixture
async def procedures(watcher, scopes):
    code = (
        "new_procedure('note', |record| {.noted = record;}); new_procedure('two', |a, b| .two = [a, b]); nil;"
    )
    await watcher.query(code, scope=scopes[0])
    yield
    await watcher.query("del_procedure('note'); del_procedure('two'); nil;", scope=scopes[0])


def without_ids(value):
    """A mapping that is stored becomes a thing, with an id of its own."""
    if isinstance(value, dict):
        return {key: without_ids(inner) for key, inner in value.items() if key != "#"}
    return [without_ids(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("procedures")
async def test_a_procedure_gets_the_record_or_what_templates_make_of_it(deliver, watcher, scopes):
    assert await deliver(procedure="note") == DELIVERED
    assert without_ids(await watcher.query("return .noted, 9;", scope=scopes[0])) == EVENT.record()

    assert await deliver(procedure="two", args=["{{ args[0] }}", "{{ event }} at {{ args[1] }}"]) == DELIVERED
    assert without_ids(await watcher.query("return .two, 9;", scope=scopes[0])) == [
        {"host": "db1"},
        "disk-full at 91",
    ]

    assert await deliver(procedure="two", args={"b": "{{ id }}", "a": 1}) == DELIVERED
    assert await watcher.query("return .two, 9;", scope=scopes[0]) == [1, EVENT.id]


async def test_code_gets_them_as_variables(deliver, watcher, scopes):
    assert await deliver(code=".seen = record.event;") == DELIVERED
    assert await watcher.query(".seen;", scope=scopes[0]) == "disk-full"
    assert await deliver(code=".seen = [host, n];", args={"host": "{{ args[0].host }}", "n": 1}) == DELIVERED
    assert await watcher.query("return .seen, 9;", scope=scopes[0]) == ["db1", 1]


async def test_the_code_that_the_documentation_shows_counts(deliver, watcher, scopes):
    shown = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text()
    (code,) = re.findall(r'^    code: "(.*)"$', shown, re.MULTILINE)
    await watcher.query(".counts = {}; nil;", scope=scopes[0])
    for _ in range(3):
        assert await deliver(code=code, args={"room": "{{ room }}"}) == DELIVERED
    assert await watcher.query(".counts.alerts;", scope=scopes[0]) == 3


@pytest.mark.parametrize(
    ("options", "expected", "said"),
    [
        ({"procedure": "no_such"}, "pause", "procedure `no_such` not found"),
        ({"code": "1;", "scope": "//no_such"}, "pause", "not found"),
        ({"code": "this is not code"}, "pause", "error at line"),
        ({"code": "int(1, 2, 3);"}, "rejected", "(-62)"),
        ({"code": ".no_such_property;"}, "rejected", "(-54)"),
        ({"code": "1/0;"}, "rejected", "(-58)"),
        ({"code": "assert(false);"}, "rejected", "(-50)"),
        ({"code": "raise(operation_err('not here'));"}, "rejected", "not here (-63)"),
        ({"code": "raise('of our own');"}, "rejected", "of our own (-100)"),
        ({"code": "raise('of our own');", "retry_codes": [-100]}, "retry", "of our own (-100)"),
        ({"code": "raise(max_quota_err());"}, "retry", "(-57)"),
        ({"code": ".no_such_method();"}, "rejected", "(-54)"),
        ({"code": "1;", "args": {"x": 2**64}}, "rejected", "ThingsDB has no place"),
    ],
)
async def test_errors_are_outcomes(deliver, options, expected, said):
    outcome = await deliver(**options)
    kind = "rejected" if isinstance(outcome, Rejected) else "pause" if outcome.pause else "retry"
    assert isinstance(outcome, Rejected | Retry)
    assert (kind, said in outcome.reason) == (expected, True), outcome
