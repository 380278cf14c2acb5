"""Handles a call: checks it (`admission`), answers it (`delivery`), and counts it.

It also serves the control plane and the certificate. All time is the running loop's, so that it works in virtual time;
only `created`, ids, keys and certificates use the wall clock.
"""

import asyncio
from collections.abc import Callable
from email.utils import formatdate

import orjson
from aiohttp import web

from arkbatch.protocol import signing
from arkbatch.simulator import broken_connections, wire
from arkbatch.simulator.admission import Body, RequestAdmission
from arkbatch.simulator.batch_queue import BatchQueue
from arkbatch.simulator.call import SimulatedCall
from arkbatch.simulator.control_actions import (
    ControlError,
    Result,
    SimulatedControlPlane,
    encode_answer,
    missing_parameter,
    wrong_parameter,
)
from arkbatch.simulator.counters import Counters, Seen
from arkbatch.simulator.delivery import Delivery
from arkbatch.simulator.endpoints import Asked, SimulatedEndpoint
from arkbatch.simulator.inference_jobs import InferenceJobs
from arkbatch.simulator.keys import Keys
from arkbatch.simulator.limits import AccountLimits, TurnedAway
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.settings import Settings


class Simulator:
    """Everything that lives as long as the server."""

    def __init__(self, settings: Settings, counters: Counters, wall: Callable[[], float], jobs: InferenceJobs) -> None:
        keys, line, self._limits = Keys(settings), BatchQueue(settings), AccountLimits(settings, counters)
        self._settings = settings
        self._counters = counters
        self._wall = wall
        self._ids = wire.Ids(wall)
        self._admission = RequestAdmission(settings, counters, self._limits, line, keys=keys, wall=wall)
        self._delivery = Delivery(settings, counters, self._limits, line, wall)
        self._control = SimulatedControlPlane(
            settings, keys, {"GetEndpointCertificate": self._endpoint_certificate, **jobs.actions}
        )
        self._jobs = jobs

    async def close(self, app: web.Application) -> None:
        del app
        self._delivery.close()

    async def handle_call(self, endpoint: SimulatedEndpoint, request: web.Request) -> web.StreamResponse:
        """Handle a call of the table in `endpoints`."""
        call = self._start_call(request)
        self._counters.call_began()
        try:
            match await self._admission.check_request(endpoint, call):
                case Asked() as asked:
                    return await self._delivery.answer_call(endpoint, call, asked)
                case Refusal() as refusal:
                    return self._delivery.refuse_call(call, refusal)
                case TurnedAway(refusal=refusal, seconds=seconds, say=say):
                    return self._delivery.refuse_call(call, refusal, seconds if say else None)
        finally:
            self._end_call(call)

    async def handle_certificate(self, request: web.Request) -> web.Response:
        """Return the certificate that calls to a model are sealed with."""
        call = self._start_call(request)
        body = await self._admission.read_body(call)
        if isinstance(body, Refusal):
            return self._delivery.refuse_call(call, body)
        pem = self._certificate_pem(confidential="type" in body)
        if isinstance(pem, Refusal):
            return self._delivery.refuse_call(call, pem)
        refused = {"code": "CertificateNotFound", "message": f"There is no certificate for {call.model}."}
        answer = {"Certificate": pem, "error": None} if pem else {"Certificate": "", "error": refused}
        return self._delivery.send_body(call, orjson.dumps(answer))

    async def handle_control(self, request: web.Request) -> web.StreamResponse:
        """Handle a call to the control plane."""
        sent = signing.Request(request.method, request.path, request.query, request.headers, await request.read())
        answer = self._control.answer_request(sent, self._wall(), asyncio.get_running_loop().time())
        status, outcome = (answer.status, answer.code) if isinstance(answer, ControlError) else (200, "ok")
        self._counters.control[outcome] += 1
        if status == 200 and self._jobs.loses_reply(request.query.get("Action", "")):
            return broken_connections.hang_up(request)
        body = encode_answer(answer, request.query, self._ids.next_of_control())
        headers = {"Content-Type": wire.JSON, "Date": formatdate(self._wall(), usegmt=True)}
        return web.Response(body=body, status=status, headers=headers)

    def _endpoint_certificate(self, body: Body, now: float) -> Result | ControlError:
        """Return the same certificate through the control plane."""
        del now
        if not body.get("Id"):
            return missing_parameter("Id")
        pem = self._certificate_pem(confidential=body.get("Type") is not None)
        if isinstance(pem, Refusal) or not pem:
            return wrong_parameter("there is no certificate for this endpoint")
        return {"PCAInstanceCertificate": pem}

    def _certificate_pem(self, *, confidential: bool) -> str | Refusal:
        """Return the certificate, "" when the settings say that it is refused."""
        vault = self._admission.vault
        if isinstance(vault, Refusal) or self._settings.certificate == "refused":
            return vault if isinstance(vault, Refusal) else ""
        return vault.make_certificate(self._wall(), confidential=confidential)

    def _start_call(self, request: web.Request) -> SimulatedCall:
        return SimulatedCall(request, self._ids.next_id(), asyncio.get_running_loop().time())

    def _end_call(self, call: SimulatedCall) -> None:
        if call.admitted:
            self._limits.end_call(call.model)
        client_id, path = call.client_id or "", call.http.path
        self._counters.call_ended(Seen(call.at, call.id, client_id, path, call.model, call.attempt, call.outcome))
