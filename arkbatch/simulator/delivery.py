"""Writes an answer, a refusal or a fault to the connection.

Everything takes the time that `latency` sets, by the loop's clock. `endpoints` knows what an answer contains;
`streaming` knows what a fault does to a stream.
"""

import asyncio
from collections.abc import Callable
from math import ceil

import orjson
from aiohttp import web
from msgspec.structs import replace

from arkbatch.simulator import broken_connections, dialects, faults, streaming, wire
from arkbatch.simulator.batch_queue import BatchQueue
from arkbatch.simulator.bill_file import BillFile
from arkbatch.simulator.call import SimulatedCall
from arkbatch.simulator.counters import Counters
from arkbatch.simulator.endpoints import Asked, PreparedAnswer, SimulatedEndpoint
from arkbatch.simulator.limits import AccountLimits
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.seeded_random import random_for
from arkbatch.simulator.settings import Settings

SLOWER = 100  # the fault `slow` makes an answer take so many times as long


class Delivery:
    """Answers calls; `wall` returns unix seconds, for `created`."""

    def __init__(
        self, settings: Settings, counters: Counters, limits: AccountLimits, line: BatchQueue, wall: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._limits = limits
        self._line = line
        self._wall = wall
        self._bills = BillFile(settings.bill)
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all stalled replies, so that a stopping server does not wait for them."""
        self._closing.set()
        self._bills.close()

    async def answer_call(self, endpoint: SimulatedEndpoint, call: SimulatedCall, asked: Asked) -> web.StreamResponse:
        fault = faults.MENU[asked.fault] if asked.fault else None
        if fault is not None and fault.refusal is not None:
            return self.refuse_call(
                call, fault.refusal, fault.retry_after or (1 if self._settings.retry_after else None)
            )
        if not endpoint.batch:
            return await self._answer_admitted(endpoint, call, asked)
        async with self._line.wait_turn(random_for(asked.of, -call.attempt)):
            return await self._answer_admitted(endpoint, call, asked)

    def refuse_call(self, call: SimulatedCall, refusal: Refusal, retry_after: float | None = None) -> web.Response:
        """Return an error response; `retry_after` in seconds is sent rounded up."""
        call.outcome = refusal.code
        response = self.send_body(call, wire.error_body(refusal, call.model, call.id), refusal.status)
        if retry_after is not None:
            response.headers["Retry-After"] = str(max(1, ceil(retry_after)))
        return response

    def send_body(
        self, call: SimulatedCall, body: bytes, status: int = 200, content_type: str = wire.JSON
    ) -> web.Response:
        response = web.Response(body=body, status=status, headers=call.reply_headers(content_type))
        if self._settings.gzip and "gzip" in call.http.headers.get("Accept-Encoding", ""):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _answer_admitted(
        self, endpoint: SimulatedEndpoint, call: SimulatedCall, asked: Asked
    ) -> web.StreamResponse:
        seconds = self._answer_seconds(call, asked)
        streamed = bool(endpoint.streams and asked.body.get("stream") and asked.fault not in faults.BEFORE_ANSWERS)
        if streamed and asked.fault != "other_kind":
            said = self._prepare_answer(endpoint, call, asked)
            script = streaming.write_script(said.chunks, asked.fault, call.model, call.id)
            response = await streaming.send_script(call, script, seconds, self._closing)
        elif streamed:
            await asyncio.sleep(seconds)
            said = self._prepare_answer(endpoint, call, replace(asked, body={**asked.body, "stream": False}))
            response = self.send_body(call, orjson.dumps(said.body))
        else:
            await asyncio.sleep(seconds)
            response = await self._send_whole(endpoint, call, asked)
        call.outcome = asked.fault or "ok"
        return response

    def _answer_seconds(self, call: SimulatedCall, asked: Asked) -> float:
        """Return how long the answer takes: half is fixed, half is exponentially distributed."""
        if not self._settings.latency:
            return 0.0
        usual = self._settings.latency * (0.5 + 0.5 * random_for(asked.of, -call.attempt).expovariate(1))
        return usual * SLOWER if asked.fault == "slow" else usual

    async def _send_whole(self, endpoint: SimulatedEndpoint, call: SimulatedCall, asked: Asked) -> web.StreamResponse:
        """Send an answer that is no stream, or the fault in its place."""
        match asked.fault:
            case "stall":
                await self._closing.wait()
                return broken_connections.hang_up(call.http)
            case "drop_before":
                return broken_connections.hang_up(call.http)
            case "bad_gateway":
                return broken_connections.bad_gateway()
        if asked.fault and (error := faults.MENU[asked.fault].inside):
            return self.send_body(call, wire.error_body(error, call.model, call.id))
        if asked.fault and asked.fault in dialects.ERRORS:
            status, body, content_type = dialects.write_error(asked.fault)
            return self.send_body(call, body, status, content_type)
        said = self._prepare_answer(endpoint, call, asked)
        if asked.fault and asked.fault in dialects.DIALECTS and "choices" in said.body:
            body, content_type = dialects.write_whole(asked.fault, said.body)
            return self.send_body(call, body, content_type=content_type)
        reply = orjson.dumps(said.body)
        match asked.fault:
            case "drop_inside" | "stall_inside":
                return await self._send_half(call, reply, hang=asked.fault == "stall_inside")
            case "garbled":
                return self.send_body(call, reply[: len(reply) // 3])  # in the middle of its text
        return self.send_body(call, reply)

    async def _send_half(self, call: SimulatedCall, reply: bytes, *, hang: bool) -> web.StreamResponse:
        response = await broken_connections.send_half(call.http, reply, call.reply_headers())
        if hang:
            await self._closing.wait()
        broken_connections.close_connection(call.http)
        return response

    def _prepare_answer(self, endpoint: SimulatedEndpoint, call: SimulatedCall, asked: Asked) -> PreparedAnswer:
        said = endpoint.answer(asked, self._settings, call.id, int(self._wall()))
        if call.admitted:
            self._limits.count_output(call.model, said.output, asyncio.get_running_loop().time())
        self._counters.usage["input"] += said.input
        self._counters.usage["output"] += said.output
        self._bills.add(call.id, asked.fault, said)
        return said
