"""Checks a call: from an HTTP request to what was asked, or to a refusal.

    key -> body -> model -> lane -> requests allowed or place in queue -> seal -> parameters -> tokens allowed -> fault

This module knows the order of the checks; the modules around it make them.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from arkbatch.simulator import faults, models, refusals
from arkbatch.simulator.batch_queue import BatchQueue, wrong_lane
from arkbatch.simulator.call import SimulatedCall
from arkbatch.simulator.counters import Counters
from arkbatch.simulator.endpoints import Asked, SimulatedEndpoint
from arkbatch.simulator.keys import Keys
from arkbatch.simulator.limits import AccountLimits, TurnedAway
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.seeded_random import fingerprint, random_for
from arkbatch.simulator.settings import Settings

if TYPE_CHECKING:
    from arkbatch.protocol.encryption import Seal
    from arkbatch.simulator.encryption import Vault

Body = dict[str, Any]


class RequestAdmission:
    """Checks calls; `wall` returns unix seconds, for keys that expire."""

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        limits: AccountLimits,
        line: BatchQueue,
        *,
        keys: Keys,
        wall: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._limits = limits
        self._line = line
        self._keys = keys
        self._wall = wall

    async def check_request(self, endpoint: SimulatedEndpoint, call: SimulatedCall) -> Asked | Refusal | TurnedAway:
        body = await self.read_body(call)
        if isinstance(body, Refusal):
            return body
        if refusal := wrong_lane(call.model, self._settings, batch=endpoint.batch):
            return refusal
        raw, seal = await call.http.read(), None
        if turned_away := self._turned_away(endpoint, call):
            return turned_away
        if call.http.headers.get("x-is-encrypted") == "true":
            opened = self._open_sealed(endpoint, call, body)
            if isinstance(opened, Refusal):
                return opened
            body, seal = opened
            raw = orjson.dumps(body)
        if refusal := endpoint.check(body):
            return refusal
        if call.admitted and (away := self._limits.count_tokens(call.model, endpoint.input_tokens(body), call.at)):
            return away
        return self._with_fault(call, body, raw, seal)

    async def read_body(self, call: SimulatedCall) -> Body | Refusal:
        """Return the body, if the call has a key and names a model that exists."""
        authorization = call.http.headers.get("Authorization", "")
        if refusal := self._keys.check_key(authorization, self._wall()):
            return refusal
        try:
            body = parse_request(await call.http.read())
        except web.HTTPRequestEntityTooLarge:
            return refusals.TOO_LARGE
        except web.RequestPayloadError:  # such as a body that is not gzip although its header says so
            return refusals.NOT_JSON
        if isinstance(body, Refusal):
            return body
        call.model = body["model"]
        if not models.model_exists(call.model, self._settings.models):
            return refusals.NO_SUCH_MODEL
        return self._keys.check_key_for_model(authorization, call.model) or body

    @cached_property
    def vault(self) -> "Vault | Refusal":
        """The service's key for encryption."""
        try:
            from arkbatch.simulator.encryption import Vault
        except ModuleNotFoundError:
            return refusals.NO_ENCRYPTION
        return Vault(self._settings.seed, self._settings.certificate)

    def _turned_away(self, endpoint: SimulatedEndpoint, call: SimulatedCall) -> TurnedAway | None:
        """Apply the limits of online calls, or the queue of the batch lane."""
        if endpoint.batch:
            return self._line.turned_away()
        turned_away = self._limits.count_request(call.model, call.at)
        call.admitted = turned_away is None
        return turned_away

    def _open_sealed(
        self, endpoint: SimulatedEndpoint, call: SimulatedCall, body: Body
    ) -> "tuple[Body, Seal] | Refusal":
        if not endpoint.seals:
            return refusals.unsupported_parameter("x-is-encrypted")
        return self.vault if isinstance(self.vault, Refusal) else self.vault.open_body(body, call.http.headers)

    def _with_fault(self, call: SimulatedCall, body: Body, raw: bytes, seal: "Seal | None") -> Asked | Refusal:
        of = fingerprint(body, self._settings.seed)
        call.attempt = self._counters.count_attempt(of)
        fault = faults.asked_for(raw, call.attempt)
        if fault is None and self._settings.faults:
            fault = faults.draw_fault(self._settings.faults, random_for(of, call.attempt).random())
        if isinstance(fault, Refusal):
            return fault
        return Asked(body, of, fault, None if seal is None else self._reply_sealer(seal, fault))

    def _reply_sealer(self, seal: "Seal", fault: str | None) -> Callable[[str], str]:
        from arkbatch.simulator.encryption import reply_sealer

        return reply_sealer(seal, self._settings.blobs, fault)


def parse_request(raw: bytes) -> dict[str, Any] | Refusal:
    """Return the body without nulls, which the official SDK sends for unset values."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return refusals.NOT_JSON
    if not isinstance(body, dict):
        return refusals.NOT_JSON
    body = {name: value for name, value in body.items() if value is not None}
    if "model" not in body:
        return refusals.missing_parameter("model")
    if not isinstance(body["model"], str) or not body["model"]:
        return refusals.invalid_parameter("model", "it must be a string that is not empty")
    return body
