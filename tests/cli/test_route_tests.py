"""`tdbwatch test` and `check --explain`: where events go, before anything is live."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tdbwatch.cli import app

CONFIG = """
thingsdb: {nodes: [localhost], auth: {token: t}}
rooms: [alerts, {name: logins, args: [user, ip]}, {name: logins, scope: //ops, as: ops-logins}]
sinks: {audit: {type: log}, oncall: {type: log}}
routes:
  - {to: [audit]}
  - {match: {room: alerts}, where: "args[0].severity >= 5", set: {severity: "args[0].severity"}, to: [oncall]}
  - {match: {room: "*logins"}, where: "data.user == 'root'", to: [oncall], stop: true}
  - {match: {kind: gap}, to: [oncall]}
tests:
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a configuration with these tests."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, tests: str = "  []") -> tuple[int, str, str]:
        Path("prod.yaml").write_text(CONFIG + tests)
        Path("prod.yaml").chmod(0o600)
        code = app.main([*arguments[:1], "--config", "prod.yaml", *arguments[1:]])
        return code, *capsys.readouterr()

    return run


def one(given: str, expect: str, name: str = "it") -> str:
    return f"  - {{name: {name}, given: [{given}], expect: {expect}}}"


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ("{room: alerts, event: x, args: [{severity: 5}]}", "{audit: 1, oncall: [{fields: {severity: 5}}]}"),
        ("{room: alerts, event: x, args: [{severity: 4}]}", "{audit: [{event: x, args: [{severity: 4}]}]}"),
        ("{room: alerts, args: [1]}, {room: alerts, event: y, args: [1]}", "{audit: [{}, {event: y}]}"),
        (
            "{room: logins, event: in, args: [root, '::1']}",
            "{audit: any, oncall: [{data: {user: root, ip: '::1'}}]}",
        ),
        ("{room: alerts, kind: gap, details: {reason: lost}}", "{oncall: [{kind: gap, reason: lost}]}"),
        ("{kind: node, event: connected}", "{}"),
        ("{room: ops-logins, args: [root]}", "{audit: [{scope: //ops}]}"),
    ],
)
def test_what_is_as_expected_passes(run: Run, given: str, expect: str) -> None:
    code, out, err = run("test", tests=one(given, expect))
    assert (code, err) == (0, ""), out
    assert out == "PASSED  it\n1 test: 1 passed, 0 failed\n"


@pytest.mark.parametrize(
    ("given", "expect", "said"),
    [
        ("{room: alerts}", "{audit: 2}", "audit: expected 2 records, got 1: {"),
        ("{room: alerts}", "{}", "audit: expected 0 records, got 1: {"),
        ("{room: alerts}", "{audit: 1, oncall: 1}", "oncall: expected 1 record, got none\n"),
        ("{room: alerts}", "{audit: 1, oncall: 1}", "routes[1]: where: Index error: index=0 size=0"),
        ("{room: alerts, event: x}", "{audit: [{event: y}]}", 'audit[0].event: expected "y", got "x"'),
        (
            "{room: alerts, args: [[1]]}",
            "{audit: [{args: [[true]]}]}",
            "audit[0].args[0][0]: expected true, got 1",
        ),
        ("{room: alerts, args: [1]}", "{audit: [{args: [1, 2]}]}", "audit[0].args: expected [1,2], got [1]"),
        (
            "{room: alerts}",
            "{audit: [{fields: {a: 1}}]}",
            'audit[0].fields: expected {"a":1}, and there is none',
        ),
    ],
)
def test_what_is_not_fails_and_says_where(run: Run, given: str, expect: str, said: str) -> None:
    code, out, _ = run("test", tests=one(given, expect))
    assert code == 1
    assert out.startswith("FAILED  it\n        ")
    assert said in out
    assert out.endswith("1 test: 0 passed, 1 failed\n")


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (
            one("{room: alert}", "{}"),
            "tests[0].given[0].room: no room that is watched has this name\n    did you mean",
        ),
        (one("{event: x}", "{}"), "tests[0].given[0].room: is missing\n    say in which room it is heard"),
        (one("{room: alerts}", "{onkall: 1}"), "tests[0].expect.onkall: there is no sink of this name"),
        (one("{room: alerts}", "{oncall: -1}"), "tests[0].expect.oncall"),
        (one("{room: alerts, time: noon}", "{}"), "tests[0].given[0].time: this is not a time with its zone"),
        (
            one("{room: alerts, args: [18446744073709551616]}", "{}"),
            "tests[0].given[0]: ThingsDB cannot take",
        ),
        (one("", "{}"), "tests[0].given: must not be empty"),
        ("  - {name: it}", "tests[0].given: is missing"),
    ],
)
def test_a_test_that_cannot_be_meant_so_is_refused_by_check_too(run: Run, tests: str, said: str) -> None:
    for command in ("test", "check"):
        code, _, err = run(command, tests=tests)
        assert (code, said in err) == (78, True), err


REMEMBERING = """
thingsdb: {nodes: [localhost], auth: {token: t}}
rooms: [logins, beats]
sinks: {audit: {type: log}, chat: {type: log}}
routes:
  - {match: {room: logins}, group: {key: "args[0]", wait: 30s, max: 3}, set: {who: "args[0]"}, to: [chat]}
  - {match: {room: beats}, to: [audit]}
absences:
  - {name: no-beat, match: {room: beats}, after: 2m, to: [chat]}
tests:
  - name: logins of one user are one record
    given:
      - {room: logins, event: in, args: [ann]}
      - {after: 10s, room: logins, event: in, args: [ann]}
      - {after: 10s, room: logins, event: in, args: [bob]}
      - {after: 30s}
    expect:
      chat:
        - {kind: group, key: ann, count: 2, fields: {who: ann}, members: [{args: [ann]}, {event: in}]}
        - {kind: group, key: bob, members: [{fields: {who: bob}}]}
  - name: not yet
    given: [{room: logins, args: [ann]}, {after: 29s}]
    expect: {}
  - name: a beat that stops is told once, and when it is back
    given: [{room: beats}, {after: 119s, room: beats}, {after: 5m}, {room: beats}, {after: 1m}]
    expect:
      audit: 3
      chat:
        - {kind: absence, name: no-beat, over: false, seconds: 120, heard: true}
        - {kind: absence, name: no-beat, over: true, seconds: 300}
  - name: a gap says that the silence may be ours
    given:
      - {room: beats, time: "2026-11-23T07:24:00Z"}
      - room: beats
        kind: gap
        time: "2026-11-23T07:25:00Z"
        details: {cause: connection, reason: no node, until: "2026-11-23T07:25:00.000000Z"}
      - {after: 2m}
    expect: {audit: 1, chat: [{heard: false, cause: connection, seconds: 120}, {heard: true, seconds: 180}]}
"""


def test_time_passes_for_groups_and_absences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prod.yaml").write_text(REMEMBERING)
    (tmp_path / "prod.yaml").chmod(0o600)
    config = ["--config", str(tmp_path / "prod.yaml")]
    assert app.main(["test", *config]) == 0, capsys.readouterr().out
    assert app.main(["check", *config]) == 0
    assert capsys.readouterr().out.endswith("2 sinks, 2 routes, 1 absence\n")
    app.main(["check", *config, "--explain", "logins", "in", "ann"])
    assert capsys.readouterr().out == "routes  routes[0]\ngroup   chat  with others of its key (routes[0])\n"
    app.main(["check", *config, "--explain", "beats", "x"])
    assert capsys.readouterr().out.endswith("sink    audit\nabsence no-beat  waits for it (absences[0])\n")


def test_a_report_is_what_ci_reads(run: Run) -> None:
    tests = one("{room: alerts}", "{audit: 1}") + "\n" + one("{room: alerts}", "{audit: 7}", "wrong")
    assert run("test", "--junit", "report.xml", tests=tests)[0] == 1
    suite = ET.parse("report.xml").getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures")) == ("testsuite", "2", "1")
    assert [case.get("name") for case in suite] == ["it", "wrong"]
    assert [failure.get("message", "")[:25] for failure in suite.iter("failure")] == [
        "audit: expected 7 records,"[:25]
    ]


def test_a_report_has_no_characters_that_xml_has_not(run: Run) -> None:
    given = r'{room: alerts, event: "x\e[2J", args: ["\0"]}'
    assert run("test", "--junit", "report.xml", tests=one(given, "{audit: [{args: [1]}]}", r'"\e"'))[0] == 1
    (case,) = ET.parse("report.xml").getroot()
    assert case.get("name") == r"\x1b"


def test_a_report_that_cannot_be_written_is_said(run: Run) -> None:
    code, _, err = run("test", "--junit", "no/report.xml", tests=one("{room: alerts}", "{audit: 1}"))
    assert (code, "no/report.xml: No such file" in err) == (73, True)


def test_without_tests_that_is_said(run: Run) -> None:
    code, _, err = run("test")
    assert (code, "there are no tests in prod.yaml" in err) == (66, True)


def test_check_explains_where_an_event_goes(run: Run) -> None:
    code, out, _ = run("check", "--explain", "alerts", "disk-full", '{"severity": 7}')
    assert code == 0
    assert out == 'routes  routes[0], routes[1]\nsink    audit\nsink    oncall  with fields {"severity":7}\n'
    out = run("check", "--explain", "alerts", "disk-full")[1]
    assert out == "routes  routes[0]\nsink    audit\nfailed  routes[1]: where: Index error: index=0 size=0\n"
    code, _, err = run("check", "--explain", "alert", "x")
    assert (code, "did you mean alerts?" in err) == (64, True)


@pytest.mark.parametrize(
    ("arg", "said"),
    [
        ("[" * 100_000, "nested too deep"),
        ("\udcff", "ThingsDB cannot take"),
        (f"{2**64}", "ThingsDB cannot take"),
    ],
)
@pytest.mark.parametrize("command", [("check", "--explain", "alerts", "x"), ("send", "audit")])
def test_an_argument_that_no_event_can_have_is_wrong_usage(
    run: Run, command: tuple[str, ...], arg: str, said: str
) -> None:
    code, _, err = run(*command, arg)
    assert (code, said in err) == (64, True), err
