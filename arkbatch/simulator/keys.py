"""Checks API keys: those of the settings, and the temporary ones of the control plane.

A temporary key contains what it opens and until when, with a signature that depends on the seed. So nothing has to be
kept, and a simulator that was started again accepts its own keys.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from msgspec import Struct

from arkbatch.simulator import refusals
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.settings import Settings

_PREFIX = "sim-temporary-"


class Grant(Struct, frozen=True, array_like=True):
    """What a temporary key opens, and until when (unix seconds)."""

    resource: str
    expires: int


class Keys:
    """Issues temporary keys, and checks the key of a call."""

    def __init__(self, settings: Settings) -> None:
        self._accepted = settings.keys
        self._secret = f"simulator {settings.seed}".encode()

    def issue_key(self, resource: str, expires: int) -> str:
        payload = urlsafe_b64encode(msgspec.json.encode(Grant(resource, expires))).decode()
        return f"{_PREFIX}{payload}.{self._sign_payload(payload)}"

    def check_key(self, authorization: str, now: float) -> Refusal | None:
        """Return why the value of `Authorization` is refused; `now` is in unix seconds."""
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        if not authorization:
            return refusals.NO_KEY
        if scheme != "Bearer" or not key:
            return refusals.BAD_KEY_FORMAT
        if key.startswith(_PREFIX):
            grant = self._read_grant(key)
            return refusals.NO_KEY if grant is None or now >= grant.expires else None
        return refusals.NO_KEY if self._accepted and key not in self._accepted else None

    def check_key_for_model(self, authorization: str, model: str) -> Refusal | None:
        """Return why a temporary key does not open this model; other keys open every model."""
        grant = self._read_grant(authorization.partition(" ")[2].strip())
        return refusals.NOT_ITS_KEY if grant is not None and grant.resource != model else None

    def _read_grant(self, key: str) -> Grant | None:
        """Return what a temporary key grants, None for another or a forged key."""
        payload, _, seal = key.removeprefix(_PREFIX).partition(".")
        if not key.startswith(_PREFIX) or not hmac.compare_digest(self._sign_payload(payload).encode(), seal.encode()):
            return None
        return msgspec.json.decode(urlsafe_b64decode(payload), type=Grant)

    def _sign_payload(self, payload: str) -> str:
        return hmac.digest(self._secret, payload.encode(), "sha256").hex()
