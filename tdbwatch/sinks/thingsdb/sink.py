"""The thingsdb sink: one call for each event, by the connections that the daemon has already."""

import json
from collections.abc import Sequence
from typing import Any, Final

from tdbwatch.exceptions import ConnectionLostError, EncodeError, NotConnectedError, ThingsDBError
from tdbwatch.plugin import (
    DELIVERED,
    Event,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkContext,
    TemplateError,
    sink,
)
from tdbwatch.sinks.thingsdb.answers import outcome_of
from tdbwatch.sinks.thingsdb.options import ThingsDBOptions

_SHARE: Final = 0.9
"""Of the sink's timeout: what is done by then can still be said."""


@sink("thingsdb", threaded=False)
class ThingsDBSink(Sink):
    """Runs a procedure or code of ThingsDB."""

    Options = ThingsDBOptions

    def __init__(self, options: ThingsDBOptions, context: SinkContext) -> None:
        super().__init__(options, context)
        self._args = options.template

    async def deliver(self, batch: Sequence[Event]) -> Outcome | Sequence[Outcome]:
        """Begins no call when half of the sink's time is over; the rest is left for the next one."""
        begin = self.context.clock.monotonic()
        outcomes: list[Outcome] = []
        for event in batch:
            outcomes.append(await self._deliver(event, begin + _SHARE * self.options.timeout))
            late = self.context.clock.monotonic() - begin >= self.options.timeout / 2
            if isinstance(outcomes[-1], Retry) or late:
                break
        return outcomes

    async def _deliver(self, event: Event, until: float) -> Outcome:
        try:
            args = json.loads(self._args.render(event))
        except (TemplateError, ValueError, RecursionError) as error:
            return Rejected(f"its templates fail for this event: {error}")
        seconds = max(0.001, until - self.context.clock.monotonic())
        try:
            await self._run(args, seconds)
        except ThingsDBError as error:
            return outcome_of(error, self.options.retry_codes)
        except EncodeError as error:
            return Rejected(f"ThingsDB has no place for what it says: {error}")
        except TimeoutError:
            return Retry(f"no answer within {seconds:.3g} s; it may have run or not")
        except (NotConnectedError, ConnectionLostError) as error:
            return Retry(str(error))
        return DELIVERED

    async def _run(self, args: Any, seconds: float) -> None:
        client, options = self.context.client, self.options
        if options.code is not None:
            await client.query(options.code, options.scope, seconds, **args)
        elif isinstance(args, dict):
            await client.run(options.procedure, scope=options.scope, timeout=seconds, **args)
        else:
            await client.run(options.procedure, *args, scope=options.scope, timeout=seconds)
