"""The rounds of a row whose model calls tools.

Each round is a call of its own, with its turn at the limiter, its place in the budget and attempts of its own. The
functions of one reply run one after the other, in the order in which they were called, so that what they change
outside is changed in that order; rows run beside each other all the same. A round that fails is asked again from where
the conversation stands. A session that resumes, or a `retry`, begins the conversation anew.
"""

import msgspec

from arkbatch.core.calls import Cause, Done, Reply, Verdict
from arkbatch.core.job_sections import ToolUse
from arkbatch.core.row import Body, Row
from arkbatch.engine.tool_module import Functions, call_function
from arkbatch.monitor.observer import Observer
from arkbatch.protocol.endpoints.batch_lane import online_name
from arkbatch.protocol.structured_output import Validation
from arkbatch.protocol.tool_calls import (
    ToolCall,
    ToolResult,
    message_with_calls,
    next_request,
    too_many_rounds,
    tool_calls_in,
)


class ToolLoop:
    """The tools of a job. `then` looks at the answers that call none. at_work: rows whose tools run just now."""

    def __init__(self, functions: Functions, use: ToolUse, observer: Observer, then: Validation | None) -> None:
        self._functions = functions
        self._use = use
        self._observer = observer
        self._then = then
        self.at_work = 0

    async def check_reply(self, row: Row, reply: Reply, done: Done) -> Verdict:
        """Whether a good reply goes on, or else what becomes of it."""
        if online_name(row.endpoint) in {"chat", "responses"} and message_with_calls(reply.body) is not None:
            return msgspec.structs.replace(done, goes_on=True)
        return done if self._then is None else await self._then(row, reply, done)

    async def go_on(self, row: Row, reply: Reply, rounds: int) -> Body | Cause:
        """The next request, after the functions that this reply calls. A cause: the row ends here.

        rounds: those of this row, this one included
        """
        message = message_with_calls(reply.body)
        assert message is not None
        if rounds > self._use.max_rounds:
            return too_many_rounds(self._use.max_rounds)
        self.at_work += 1
        try:
            results = [await self._call_function(row, asked) for asked in tool_calls_in(message)]
        finally:
            self.at_work -= 1
        return next_request(row.body, message, results)

    async def _call_function(self, row: Row, asked: ToolCall) -> ToolResult:
        result = await call_function(self._functions, asked, self._use.timeout)
        if result.trouble:
            self._observer.tool_failed(row, asked.name, result.trouble)
        return result
