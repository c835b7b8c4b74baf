"""The sink runs real programs, the way the daemon would have it do."""

import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tdbwatch.daemon.config.secrets.rotating import RotatingSecret
from tdbwatch.plugin import DELIVERED, Outcome, Rejected, Retry, SinkContext
from tdbwatch.sinks.exec import ExecOptions, ExecSink
from tdbwatch.testing import deliver, deliver_async, make_event
from tests.passing import let_pass

BATCH = [make_event("alerts", "disk-full", [f"db{n}", 90 + n]) for n in range(3)]


def run(code: str, events: Any = BATCH[0], **options: Any) -> list[Outcome]:
    """Deliver to a program made of this Python code."""
    return deliver(ExecSink, events, {"command": [sys.executable, "-c", code], **options})


def test_the_program_gets_the_record_on_its_standard_input(tmp_path: Path) -> None:
    code = f"import sys; open({str(tmp_path / 'heard')!r}, 'a').write(sys.stdin.read())"
    assert run(code, BATCH) == [DELIVERED] * 3
    heard = (tmp_path / "heard").read_text().splitlines()
    assert [json.loads(line) for line in heard] == [event.record() for event in BATCH]


def test_a_batch_is_one_run_with_one_line_for_each_event() -> None:
    assert (
        run("import sys; sys.exit(len(sys.stdin.readlines()) != 3)", BATCH, mode="batch") == [DELIVERED] * 3
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [(65, Rejected), (100, Rejected), (75, Retry), (1, Retry), (127, Retry), (255, Retry)],
)
def test_exit_codes_are_outcomes(code: int, expected: type) -> None:
    (outcome,) = run(f"import sys; print('because'); sys.exit({code})")
    assert type(outcome) is expected
    assert not isinstance(outcome, type(DELIVERED))
    assert f"exit code {code}: because" in outcome.reason


def test_the_codes_for_never_again_can_be_chosen() -> None:
    assert isinstance(run("import sys; sys.exit(7)", rejected=[7])[0], Rejected)


def test_a_batch_stops_at_the_first_event_to_be_tried_again() -> None:
    code = "import sys; sys.exit(75 if '\"db1\"' in sys.stdin.read() else 0)"
    assert [type(outcome) for outcome in run(code, BATCH)] == [type(DELIVERED), Retry]


def test_a_program_ended_by_a_signal_is_tried_again() -> None:
    (outcome,) = run("import os; os.kill(os.getpid(), 9)")
    assert isinstance(outcome, Retry)
    assert "ended by signal 9" in outcome.reason


def test_a_program_that_is_not_there_is_tried_again() -> None:
    (outcome,) = deliver(ExecSink, BATCH[0], {"command": ["/no/such/program"]})
    assert isinstance(outcome, Retry)
    assert "/no/such/program" in outcome.reason


async def test_after_the_deadline_it_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "code = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'\n"
        "child = subprocess.Popen([sys.executable, '-c', code])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    options = {"command": [sys.executable, "-c", code], "deadline": "25s"}
    delivering = asyncio.create_task(deliver_async(ExecSink, BATCH[0], options, timeout=600))
    async with asyncio.timeout(20):
        while not note.exists() or not note.read_text():
            await asyncio.sleep(0.01)
    let_pass(25)
    (outcome,) = await delivering
    assert isinstance(outcome, Retry)
    assert "did not end within 25 s" in outcome.reason
    assert _is_gone(int(note.read_text()))


def test_cancelled_while_it_starts_it_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    async def cancel() -> None:
        loop = asyncio.get_running_loop()
        connect, reached = loop.connect_write_pipe, asyncio.Event()

        async def late(*args: Any) -> Any:
            """The program has started its own by the time that its input is connected."""
            while not note.exists() or not note.read_text():
                await asyncio.sleep(0.01)
            reached.set()
            await asyncio.sleep(0)
            return await connect(*args)

        loop.connect_write_pipe = late  # type: ignore[method-assign]
        options = {"command": ["sh", "-c", f"sleep 600 & echo $! > {note}; wait"]}
        delivering = asyncio.ensure_future(deliver_async(ExecSink, BATCH[0], options))
        async with asyncio.timeout(20):
            await reached.wait()
            delivering.cancel()
            await asyncio.wait([delivering])
        assert delivering.cancelled()

    asyncio.run(cancel())
    assert _is_gone(int(note.read_text()))


def _is_gone(pid: int) -> bool:
    """Whether the process has ended; whoever adopted it may need a moment to bury it."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_what_a_program_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "print('started', flush=True)\n"
        "sys.exit(65)\n"
    )
    try:
        (outcome,) = run(code, deadline="20s", timeout="30s")
        assert isinstance(outcome, Rejected)
        assert outcome.reason.endswith("exit code 65: started")
    finally:
        os.kill(int(note.read_text()), 9)


def test_endless_output_is_read_and_dropped() -> None:
    (outcome,) = run("import sys; sys.stdout.write('x' * 5_000_000); sys.exit(1)", output="100B")
    assert isinstance(outcome, Retry)
    assert len(outcome.reason) < 300


def test_a_program_that_does_not_read_its_input_is_no_error() -> None:
    big = make_event("alerts", "big", ["x" * 2_000_000])
    assert run("pass", big) == [DELIVERED]


def test_the_environment_of_tdbwatch_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGSDB_TOKEN", "sesame")
    code = "import os, sys; print(sorted(os.environ)); sys.exit(1)"
    (outcome,) = run(code, env={"MINE": "x"})
    assert isinstance(outcome, Retry)
    assert "MINE" in outcome.reason
    assert "THINGSDB_TOKEN" not in outcome.reason


def test_secrets_of_the_environment_are_not_in_reasons() -> None:
    (outcome,) = run("import os, sys; print(os.environ['KEY']); sys.exit(1)", env={"KEY": "sesame"})
    assert isinstance(outcome, Retry)
    assert outcome.reason.endswith("exit code 1: **********")


def test_it_runs_in_the_folder_it_is_told(tmp_path: Path) -> None:
    code = f"import os, sys; sys.exit(not os.path.samefile(os.getcwd(), {os.fspath(tmp_path)!r}))"
    assert run(code, cwd=str(tmp_path)) == [DELIVERED]


@pytest.mark.parametrize(
    "options", [{}, {"command": []}, {"command": "ls -l"}, {"command": ["ls"], "shell": True}]
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        deliver(ExecSink, BATCH[0], options)


def test_a_secret_that_was_rotated_counts_for_the_next_run(tmp_path: Path) -> None:
    key = RotatingSecret("first")
    code = f"import os; open({str(tmp_path / 'heard')!r}, 'a').write(os.environ['KEY'] + ' ')"
    program = [sys.executable, "-c", code]
    options = ExecOptions.model_validate({"command": program, "env": {"KEY": key}})

    async def rotate() -> None:
        sink = ExecSink(options, SinkContext("page"))
        await sink.deliver(BATCH[:1])
        key.renew("second")
        await sink.deliver(BATCH[:1])

    asyncio.run(rotate())
    assert (tmp_path / "heard").read_text() == "first second "


def test_a_deadline_that_the_call_would_not_live_to_see_is_refused() -> None:
    with pytest.raises(ValidationError, match="lower deadline, or raise timeout"):
        deliver(ExecSink, BATCH[0], {"command": ["true"], "timeout": "5s"})


def test_the_program_has_the_usual_limit_of_open_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    code = (
        "import resource, sys; sys.stdin.read()\n"
        f"sys.exit(resource.getrlimit(resource.RLIMIT_NOFILE) != ({min(1024, hard)}, {hard}))"
    )
    assert run(code) == [DELIVERED]


def test_arguments_may_be_templates_and_each_stays_one(tmp_path: Path) -> None:
    code = f"import sys, json; open({str(tmp_path / 'heard')!r}, 'w').write(json.dumps(sys.argv[1:]))"
    event = make_event("alerts", "disk full; rm -rf /\0", ['"$(id)"'])
    command = [sys.executable, "-c", code, "{{ event }}", "on {{ args[0] }}", "plain"]
    assert deliver(ExecSink, event, {"command": command}) == [DELIVERED]
    assert json.loads((tmp_path / "heard").read_text()) == ["disk full; rm -rf /", 'on "$(id)"', "plain"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"command": ["{{ event }}"]}, "only arguments may be templates, not the program"),
        ({"command": ["true"], "env": {"A=b": "c"}}, "'A=b' cannot be the name of a variable"),
        ({"command": ["true"], "env": {"": "c"}}, "'' cannot be the name of a variable"),
        ({"command": ["echo", "{{ evnt }}"]}, "did you mean event?"),
        ({"command": ["echo", "{{ event }}"], "mode": "batch"}, "a template is about one"),
    ],
)
def test_templates_that_are_wrong_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        deliver(ExecSink, BATCH, options)


def test_an_event_that_makes_arguments_too_long_is_rejected() -> None:
    """Tried again it would hold up its room for days."""
    (outcome,) = deliver(ExecSink, make_event(args=["x" * 300_000]), {"command": ["true", "{{ args[0] }}"]})
    assert isinstance(outcome, Rejected)
    assert "arguments of it that are too long" in outcome.reason


def test_an_event_that_a_template_fails_for_is_rejected() -> None:
    (outcome,) = deliver(ExecSink, BATCH[0], {"command": ["true", "{{ event + 1 }}"]})
    assert isinstance(outcome, Rejected)
    assert outcome.reason.startswith("its templates fail for this event: ")


def test_want_of_descriptors_costs_no_event_an_attempt() -> None:
    async def with_so_many(spare: int) -> Outcome:
        sink = ExecSink(ExecOptions.model_validate({"command": ["/bin/true"]}), SinkContext("page"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = [os.open(os.devnull, os.O_RDONLY) for _ in range(spare + 1)]
        for descriptor in free:
            os.close(descriptor)
        lowest_free = free[0]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[spare], hard))  # what others have may lie between
        try:
            verdict = await sink.deliver(BATCH[:1])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(now_free := os.open(os.devnull, os.O_RDONLY))
        assert now_free == lowest_free, "none is left open"
        assert isinstance(verdict, list)
        return verdict[0]

    outcomes = [asyncio.run(with_so_many(spare)) for spare in range(12)]
    assert outcomes[-1] == DELIVERED
    short = [outcome for outcome in outcomes if outcome != DELIVERED]
    assert len(short) > 3
    assert all(isinstance(outcome, Retry) and outcome.pause for outcome in short)
