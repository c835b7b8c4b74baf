"""The thingsdb sink: what it calls, in the daemon and on the embedded node. Real nodes: tests/real."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from tdbwatch import exceptions as errors
from tdbwatch.node import Cluster
from tdbwatch.plugin import Outcome, Rejected, Retry
from tdbwatch.sinks.thingsdb import ThingsDBOptions, ThingsDBSink
from tdbwatch.sinks.thingsdb.answers import outcome_of
from tdbwatch.testing import RunningDaemon, deliver, make_event
from tdbwatch.testing.fixtures import embedded_node, running_daemon  # noqa: F401 - fixtures

Start = Callable[..., RunningDaemon]


@pytest.fixture
def heard() -> list[Any]:
    return []


@pytest.fixture
def start(running_daemon: Start, embedded_node: Any, heard: list[Any]) -> Callable[..., Any]:  # noqa: F811
    def note(*args: Any, **kwargs: Any) -> None:
        if args and args[0] == "refuse":
            raise errors.OperationError("not this one")
        heard.append(kwargs or list(args))

    def answering(cluster: Cluster) -> None:
        cluster.on_procedure("note", note)
        cluster.on_query("note(record);", lambda scope, code, given: note(str(scope), given["record"]))

    embedded_node.call(answering)

    def start(**options: Any) -> RunningDaemon:
        return running_daemon({"sinks": {"react": {"type": "thingsdb", **options}}})

    return start


def test_a_procedure_gets_the_record_in_the_order_of_the_room(start: Start, heard: list[Any]) -> None:
    daemon = start(procedure="note")
    for number in range(20):
        daemon.emit("disk-full", number)
    daemon.drained()
    assert [record["args"] for (record,) in heard] == [[number] for number in range(20)]
    assert {record["event"] for (record,) in heard} == {"disk-full"}


def test_code_runs_in_the_scope_that_it_is_given(start: Start, heard: list[Any]) -> None:
    daemon = start(code="note(record);", scope="@thingsdb")
    daemon.emit("disk-full", 1)
    daemon.drained()
    ((scope, record),) = heard
    assert (scope, record["args"]) == ("@thingsdb", [1])


def test_arguments_are_values_by_place_or_by_name(start: Start, heard: list[Any]) -> None:
    daemon = start(procedure="note", args={"host": "{{ args[0].host }}", "n": "{{ args[1] }}", "fix": 1})
    daemon.emit("disk-full", {"host": 'a"b'}, 2**40)
    daemon.drained()
    assert heard == [{"host": 'a"b', "n": 2**40, "fix": 1}]


def test_what_is_refused_is_a_dead_letter_and_the_others_go_on(start: Start, heard: list[Any]) -> None:
    daemon = start(procedure="note", args=["{{ event }}"])
    for event in ("a", "refuse", "b"):
        daemon.emit(event)
    daemon.drained()
    assert heard == [["a"], ["b"]]
    status = daemon.sink("react")
    assert (status.counts.delivered, status.counts.rejected) == (2, 1)


def test_without_a_daemon_nothing_is_lost() -> None:
    (outcome,) = deliver(ThingsDBSink, make_event(), {"procedure": "note"})
    assert isinstance(outcome, Retry)
    assert "no connection to ThingsDB" in outcome.reason


def test_a_value_that_thingsdb_does_not_have_is_rejected(start: Start) -> None:
    daemon = start(procedure="note", args=[2**70])
    daemon.emit("disk-full")
    daemon.drained()
    assert daemon.sink("react").counts.rejected == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.LookupError("procedure `x` not found"), Retry),
        (errors.LookupError("collection `x` not found"), Retry),
        (errors.LookupError("thing `#3` has no property `x`"), Rejected),
        (errors.SyntaxError("error at line 1"), Retry),
        (errors.ForbiddenError("user `x` is missing"), Retry),
    ],
)
def test_what_somebody_has_to_mend_pauses_the_sink(error: Any, expected: type[Outcome]) -> None:
    outcome = outcome_of(error, ())
    assert type(outcome) is expected
    assert not isinstance(outcome, Retry) or outcome.pause


def test_every_error_of_thingsdb_has_its_outcome() -> None:
    """Each class is either told here or means: never again. A new one is thought about first."""
    never = {"OperationError", "NumArgumentsError", "TypeError", "ValueError", "OverflowError"}
    never |= {"ZeroDivisionError", "LookupError", "BadDataError", "AssertionError", "ResultTooLargeError"}
    never |= {"CustomError"}
    classes = [
        one for one in vars(errors).values() if isinstance(one, type) and one.__module__ == errors.__name__
    ]
    known = [
        one for one in classes if issubclass(one, errors.ThingsDBError) and one is not errors.ThingsDBError
    ]
    rejected = {one.__name__ for one in known if isinstance(outcome_of(one("said"), ()), Rejected)}
    assert rejected == never


def test_codes_to_try_again_after_may_be_chosen() -> None:
    error = errors.OperationError("busy")
    assert outcome_of(error, [-63]) == Retry("busy (-63)")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "it runs either a procedure or code"),
        ({"procedure": "a", "code": "b"}, "it runs either a procedure or code"),
        ({"code": ".log.push('{{ event }}');"}, "code is no template"),
        ({"code": "x;", "args": [1]}, "write args as a mapping"),
        ({"code": "x;", "args": {"a b": 1}}, "cannot be the name of a variable"),
        ({"procedure": "a", "args": "x"}, "args are a list, or a mapping"),
        ({"procedure": "a", "args": ["{{ rom }}"]}, "did you mean room?"),
        ({"procedure": "a", "scope": "stuff"}, "this is no scope; write //COLLECTION"),
        ({"procedure": "a", "retry_codes": [5]}, "retry_codes"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        deliver(ThingsDBSink, make_event(), options)


def test_without_args_it_is_the_record() -> None:
    event = make_event("alerts", "x", [1])
    assert ThingsDBOptions(procedure="a").template.render(event).startswith('[{"')
    assert ThingsDBOptions(code="a").template.render(event).startswith('{"record": {"')
