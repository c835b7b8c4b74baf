"""What `@sink` makes of a function or a class."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tdbwatch.daemon.config import ConfigError
from tdbwatch.plugin import (
    DELIVERED,
    Duration,
    Event,
    FilePath,
    Options,
    Outcome,
    Rejected,
    Retry,
    Secret,
    Sink,
    SinkContext,
    SinkType,
    sink,
)
from tdbwatch.plugin.sink import marked
from tdbwatch.testing import ManualClock, deliver, deliver_async, make_event

BATCH = [make_event(event=name) for name in ("one", "two", "three")]


def test_a_function_that_returns_nothing_delivers() -> None:
    heard: list[str] = []

    @sink("plain")
    def plain(event: Event) -> None:
        heard.append(event.event)

    assert deliver(plain, BATCH) == [DELIVERED] * 3
    assert heard == ["one", "two", "three"]


def test_a_function_may_be_async() -> None:
    @sink("plain")
    async def plain(event: Event) -> Outcome:
        return Rejected(event.event)

    assert deliver(plain, BATCH[0]) == [Rejected("one")]


def test_what_follows_an_event_to_be_tried_again_is_not_tried() -> None:
    @sink("plain")
    def plain(event: Event) -> Outcome:
        return Retry("later") if event.event == "two" else Rejected("no")

    assert deliver(plain, BATCH) == [Rejected("no"), Retry("later")]


def test_what_went_before_an_error_is_delivered_and_the_error_comes_first_next_time() -> None:
    @sink("plain")
    def plain(event: Event) -> None:
        if event.event == "two":
            raise RuntimeError("two is broken")

    assert deliver(plain, BATCH) == [DELIVERED]
    with pytest.raises(RuntimeError, match="two is broken"):
        deliver(plain, BATCH[1:])


async def test_a_slow_function_gets_on_although_its_batch_is_longer_than_its_time() -> None:
    clock = ManualClock()

    @sink("slow")
    async def slow(event: Event) -> None:
        await clock.advance(0.7)

    assert await deliver_async(slow, BATCH, clock=clock) == [DELIVERED] * 2


@pytest.mark.parametrize("result", [True, 5, "ok", [DELIVERED]])
def test_a_function_that_returns_what_is_no_outcome_is_told_so(result: object) -> None:
    @sink("odd")
    def odd(event: Event) -> object:
        return result

    with pytest.raises(TypeError, match=rf"odd returned {type(result).__name__}; return Delivered, Retry"):
        deliver(odd, BATCH)


class Shout(Options):
    """Options of a test's sink."""

    wait: Duration = 1.0


def test_a_function_with_options_gets_them_as_its_second_argument() -> None:
    @sink("shout", options=Shout)
    def shout(event: Event, options: Shout) -> Outcome:
        return Rejected(f"{event.event} {options.wait:g}")

    assert deliver(shout, BATCH[0]) == [Rejected("one 1")]
    assert deliver(shout, BATCH[0], {"wait": "5m"}) == [Rejected("one 300")]
    assert deliver(shout, BATCH[0], Shout(wait="2s")) == [Rejected("one 2")]  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        deliver(shout, BATCH[0], {"weit": "5m"})


def test_a_class_names_its_options_itself() -> None:
    class Mine(Sink):
        """My own sink.

        More about it.
        """

        Options = Shout

        async def deliver(self, batch: Any) -> Any:
            """Takes them all."""

    marking = sink("mine")(Mine)
    made = marked(marking)
    assert made is not None
    assert (made.options, made.threaded, made.summary) == (Shout, True, "My own sink.")
    with pytest.raises(TypeError, match="attribute Options"):
        sink("mine", options=Shout)(Mine)


def test_a_sink_type_may_have_larger_batches() -> None:
    @sink("many", batch_count=7)
    def many(event: Event) -> None:
        """Takes them all."""

    made = marked(many)
    assert made is not None
    assert made.batch_count == 7
    assert SinkType("usual", Life).batch_count == 100


def test_a_class_without_a_docstring_has_no_summary() -> None:
    class Quiet(Sink):
        async def deliver(self, batch: Any) -> Any:
            """Takes them all."""

    assert SinkType("quiet", Quiet).summary == ""


def test_a_subclass_is_not_a_sink_type_by_its_bases_mark() -> None:
    @sink("base")
    class Base(Sink):
        """Base."""

        async def deliver(self, batch: Any) -> Any:
            """Takes them all."""

    class Derived(Base):
        """Derived."""

    assert marked(Base) is not None
    assert marked(Derived) is None
    assert marked(7) is None


@sink("life")
class Life(Sink):
    """Notes what is called."""

    told: list[str] = []  # noqa: RUF012

    async def open(self) -> None:
        self.told.append(f"open {self.context.name}")

    async def deliver(self, batch: Any) -> Any:
        self.told.append(f"deliver {len(batch)}")

    async def close(self) -> None:
        self.told.append("close")


def test_a_sink_is_opened_and_closed_around_its_delivery() -> None:
    Life.told.clear()
    assert deliver(Life, BATCH, name="mine") == [DELIVERED] * 3
    assert Life.told == ["open mine", "deliver 3", "close"]


@pytest.mark.parametrize("answer", [5, [5], [DELIVERED] * 4])
def test_an_answer_that_is_no_verdict_is_refused_in_the_authors_test(answer: object) -> None:
    class Odd(Sink):
        async def deliver(self, batch: Any) -> Any:
            return answer

    with pytest.raises(TypeError):
        deliver(SinkType("odd", Odd), BATCH)


def test_what_is_no_sink_is_refused_with_the_remedy() -> None:
    with pytest.raises(TypeError, match="@sink"):
        deliver(print, BATCH)


async def test_a_hanging_sink_fails_the_authors_test() -> None:
    import asyncio

    class Hangs(Sink):
        async def deliver(self, batch: Any) -> Any:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await deliver_async(SinkType("hangs", Hangs), BATCH, timeout=0.05)


def test_a_relative_file_path_starts_at_the_configurations_folder() -> None:
    class Reads(Options):
        file: FilePath

    made = Reads.model_validate_json('{"file": "a.txt"}', context={"folder": Path("/etc/tdbwatch")})
    assert made.file == Path("/etc/tdbwatch/a.txt")
    made = Reads.model_validate_json('{"file": "/b.txt"}', context={"folder": Path("/etc/tdbwatch")})
    assert made.file == Path("/b.txt")
    assert Reads.model_validate_json('{"file": "a.txt"}').file == Path("a.txt")


def test_text_that_is_not_unicode_still_makes_a_line_of_json() -> None:
    event = make_event("room\ud800", "e", [1])
    assert json.loads(event.json())["room"] == "room\\ud800"


def test_a_context_needs_only_a_name() -> None:
    assert SinkContext("mine").name == "mine"


class _Broken(Sink):
    """Fails to open, and so to close."""

    async def open(self) -> None:
        raise ConnectionError("the table is not there")

    async def deliver(self, batch: Any) -> Any:
        """Is never called."""

    async def close(self) -> None:
        raise AttributeError("there is no table to close")


def test_what_close_raises_does_not_hide_why_opening_failed() -> None:
    with pytest.raises(ConnectionError, match="the table is not there") as caught:
        deliver(SinkType("broken", _Broken), BATCH)
    assert caught.value.__notes__ == ["then close raised AttributeError: there is no table to close"]


class _Secretive(Options):
    token: Secret
    user: str = ""


def test_options_are_given_as_users_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    @sink("secretive", options=_Secretive)
    def secretive(event: Event, options: _Secretive) -> None:
        told.append((options.token.get_secret_value(), options.user))

    (tmp_path / "token").write_text("t0ken\n")
    monkeypatch.setenv("SOME_USER", "iris")
    monkeypatch.chdir(tmp_path)
    deliver(secretive, BATCH[0], {"token_file": "token", "user": "${SOME_USER}"})
    assert told == [("t0ken", "iris")]
    with pytest.raises(ConfigError, match="No such file"):
        deliver(secretive, BATCH[0], {"token_file": "nowhere"})
    with pytest.raises(ValidationError):
        deliver(secretive, BATCH[0], {"token": "x", "usr": "iris"})
