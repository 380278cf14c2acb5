"""The order of the steps that a call goes through. What each step decides is known to the modules around it.

    key -> body -> model -> requests allowed -> parameters -> tokens allowed -> fault -> time passes -> answer

All time is the running loop's, so that it works under a loop whose clock jumps; only `created` and ids show
the wall clock.
"""

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from math import ceil
from typing import Any

import orjson
from aiohttp import web

from arkbatch.core import signing
from arkbatch.simulator import breakage, faults, incoming, models, refusals, streaming, wire
from arkbatch.simulator.call import Call
from arkbatch.simulator.chance import fingerprint, luck
from arkbatch.simulator.control import Complaint, ControlPlane, written
from arkbatch.simulator.counters import Counters, Seen
from arkbatch.simulator.endpoints import Asked, Endpoint, Said
from arkbatch.simulator.keys import Keys
from arkbatch.simulator.limits import Limits, TurnedAway
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.settings import Settings


class Simulator:
    """Everything that lives as long as the server."""

    def __init__(self, settings: Settings, counters: Counters, wall: Callable[[], float]) -> None:
        self._settings = settings
        self._counters = counters
        self._limits = Limits(settings, counters)
        self._keys = Keys(settings)
        self._control = ControlPlane(settings, self._keys, {})
        self._wall = wall
        self._ids = wire.Ids(wall)
        self._closing = asyncio.Event()

    async def close(self, app: web.Application) -> None:
        """Ends the stalls, so that a stopping server does not wait for them."""
        del app
        self._closing.set()

    async def handle(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        call = Call(request, self._ids.next(), asyncio.get_running_loop().time())
        self._counters.entered()
        try:
            match await self._check(endpoint, call):
                case Asked() as asked:
                    return await self._answer(endpoint, call, asked)
                case Refusal() as refusal:
                    return self._refuse(call, refusal)
                case TurnedAway(refusal=refusal, seconds=seconds, say=say):
                    return self._refuse(call, refusal, seconds if say else None)
        finally:
            self._leave(call)

    async def control(self, request: web.Request) -> web.Response:
        """A call to the control plane."""
        sent = signing.Request(request.method, request.path, request.query, request.headers, await request.read())
        answer = self._control.answer(sent, self._wall(), asyncio.get_running_loop().time())
        status, outcome = (answer.status, answer.code) if isinstance(answer, Complaint) else (200, "ok")
        self._counters.control[outcome] += 1
        body = written(answer, request.query, self._ids.next_of_control())
        headers = {"Content-Type": wire.JSON, "Date": formatdate(self._wall(), usegmt=True)}
        return web.Response(body=body, status=status, headers=headers)

    async def _check(self, endpoint: Endpoint, call: Call) -> Asked | Refusal | TurnedAway:
        authorization = call.http.headers.get("Authorization", "")
        if refusal := self._keys.refused(authorization, self._wall()):
            return refusal
        try:
            raw = await call.http.read()
        except web.HTTPRequestEntityTooLarge:
            return refusals.TOO_LARGE
        except web.RequestPayloadError:  # such as a body that is not the gzip it says it is
            return refusals.NOT_JSON
        body = incoming.parsed(raw)
        if isinstance(body, Refusal):
            return body
        call.model = body["model"]
        if not models.exists(call.model, self._settings.models):
            return refusals.NO_SUCH_MODEL
        if refusal := self._keys.refused_for(authorization, call.model):
            return refusal
        return self._admit(endpoint, call, body, raw)

    def _admit(self, endpoint: Endpoint, call: Call, body: dict[str, Any], raw: bytes) -> Asked | Refusal | TurnedAway:
        if turned_away := self._limits.request(call.model, call.at):
            return turned_away
        call.admitted = True
        if refusal := endpoint.check(body):
            return refusal
        if turned_away := self._limits.tokens(call.model, endpoint.input_tokens(body), call.at):
            return turned_away
        of = fingerprint(body, self._settings.seed)
        call.attempt = self._counters.attempt(of)
        fault = faults.asked_for(raw, call.attempt)
        if fault is None and self._settings.faults:
            fault = faults.drawn(self._settings.faults, luck(of, call.attempt).random())
        return fault if isinstance(fault, Refusal) else Asked(body, of, fault)

    async def _answer(self, endpoint: Endpoint, call: Call, asked: Asked) -> web.StreamResponse:
        refusal = faults.MENU[asked.fault].refusal if asked.fault else None
        if refusal:
            return self._refuse(call, refusal, 1 if self._settings.retry_after else None)
        seconds = self._seconds(call, asked)
        if endpoint.streams and asked.body.get("stream") and asked.fault not in faults.BEFORE_ANSWERS:
            said = self._said(endpoint, call, asked)
            script = streaming.script(said.chunks, asked.fault, call.model, call.id)
            response = await streaming.send(call, script, seconds, self._closing)
        else:
            await asyncio.sleep(seconds)
            response = await self._whole(endpoint, call, asked)
        call.outcome = asked.fault or "ok"
        return response

    def _seconds(self, call: Call, asked: Asked) -> float:
        """How long the answer takes: half is fixed, the other half spreads exponentially."""
        chance = luck(asked.of, -call.attempt)
        return self._settings.latency * (0.5 + 0.5 * chance.expovariate(1))

    async def _whole(self, endpoint: Endpoint, call: Call, asked: Asked) -> web.StreamResponse:
        """An answer that is no stream, or the fault that comes in its place."""
        match asked.fault:
            case "stall":
                await self._closing.wait()
                return breakage.hang_up(call.http)
            case "drop_before":
                return breakage.hang_up(call.http)
            case "bad_gateway":
                return breakage.bad_gateway()
            case "error_in_200":
                return self._send(call, wire.error(refusals.INTERNAL, call.model, call.id))
        reply = orjson.dumps(self._said(endpoint, call, asked).body)
        match asked.fault:
            case "drop_inside":
                response = await breakage.half(call.http, reply, call.headers())
                breakage.close(call.http)
                return response
            case "stall_inside":
                response = await breakage.half(call.http, reply, call.headers())
                await self._closing.wait()
                breakage.hang_up(call.http)
                return response
            case "garbled":
                return self._send(call, reply[: len(reply) // 2])
        return self._send(call, reply)

    def _said(self, endpoint: Endpoint, call: Call, asked: Asked) -> Said:
        said = endpoint.answer(asked, self._settings, call.id, int(self._wall()))
        self._limits.output(call.model, said.output, asyncio.get_running_loop().time())
        self._counters.usage["input"] += said.input
        self._counters.usage["output"] += said.output
        return said

    def _refuse(self, call: Call, refusal: Refusal, retry_after: float | None = None) -> web.Response:
        call.outcome = refusal.code
        response = self._send(call, wire.error(refusal, call.model, call.id), refusal.status)
        if retry_after is not None:
            response.headers["Retry-After"] = str(max(1, ceil(retry_after)))
        return response

    def _send(self, call: Call, body: bytes, status: int = 200) -> web.Response:
        response = web.Response(body=body, status=status, headers=call.headers())
        if self._settings.gzip and "gzip" in call.http.headers.get("Accept-Encoding", ""):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    def _leave(self, call: Call) -> None:
        if call.admitted:
            self._limits.leave(call.model)
        client_id, path = call.client_id or "", call.http.path
        self._counters.left(Seen(call.at, call.id, client_id, path, call.model, call.attempt, call.outcome))
