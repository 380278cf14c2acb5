"""The simulated control plane: verifies a signature and rights, and issues keys.

It verifies with `protocol.signing`, which the tests compare with signatures of the official SDK.

    action -> signature readable -> clock -> access key -> signature -> rights -> limit -> parameters

Time is passed in: `now` by the wall clock, for signatures and keys, and `at` by the loop's clock, for the limit.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.protocol import signing
from arkbatch.simulator.keys import Keys
from arkbatch.simulator.limits import UsageWindow
from arkbatch.simulator.settings import Settings

VERSION = "2024-01-01"
RESOURCE_TYPES = ("endpoint", "presetendpoint", "bot")
LONGEST_LIFE = 30 * 86_400  # seconds
_DATE = "%Y%m%dT%H%M%SZ"
_REALM = signing.Realm()


class ControlError(Struct, frozen=True):
    """An error of the control plane; `number` is None where none is documented."""

    status: int
    number: int | None
    code: str
    message: str


NO_ACTION = ControlError(404, 100008, "InvalidActionOrVersion", "Could not find operation for the action and version.")
UNREADABLE = ControlError(400, None, "InvalidAuthorization", "The authorization header is missing or malformed.")
ELSEWHERE = ControlError(400, None, "InvalidCredential", "The credential is not for this region and service.")
BAD_CLOCK = ControlError(400, 100006, "InvalidTimestamp", "The X-Date of the request is not within 900 seconds of now.")
NO_SUCH_KEY = ControlError(401, 100009, "InvalidAccessKey", "The access key does not exist or is disabled.")
FORGED = ControlError(401, 100010, "SignatureDoesNotMatch", "The signature that was calculated does not match.")
NO_TOKEN = ControlError(401, None, "InvalidSecretToken", "The security token of the temporary key is wrong or expired.")
FORBIDDEN = ControlError(403, 100013, "AccessDenied", "User is not authorized to perform the action on the resource.")
TOO_MANY = ControlError(429, 100018, "FlowLimitExceeded", "Request was rejected because the request speed is too high.")

Result = dict[str, Any]
Body = dict[str, Any]
Action = Callable[[Body, float], Result | ControlError]


class SimulatedControlPlane:
    """Answers control plane requests; `actions` are those beside GetApiKey, by name."""

    def __init__(self, settings: Settings, keys: Keys, actions: Mapping[str, Action]) -> None:
        self._settings = settings
        self._keys = keys
        self._actions = {"GetApiKey": self._issue_key, **actions}
        self._calls = UsageWindow(settings.key_rpm, 60.0) if settings.key_rpm else None

    def answer_request(self, request: signing.Request, now: float, at: float) -> Result | ControlError:
        """Return what the request gets, or an error."""
        action = self._actions.get(request.query.get("Action", ""))
        if action is None or request.query.get("Version") != VERSION:
            return NO_ACTION
        if complaint := self._reject_unproven(request, now):
            return complaint
        if self._calls is not None:
            if self._calls.seconds_until_fits(1, at):
                return TOO_MANY
            self._calls.spend(1, at)
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            body = None
        return action(body, now) if isinstance(body, dict) else wrong_parameter("the body is not a JSON object")

    def _reject_unproven(self, request: signing.Request, now: float) -> ControlError | None:
        """Return an error unless the request proves that its sender has the right to it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        claim = signing.parse_authorization(headers.get("authorization", ""))
        if claim is None:
            return UNREADABLE
        key_id, realm, signed = claim
        if realm != _REALM:
            return ELSEWHERE
        if not _is_fresh(headers.get("x-date", ""), now):
            return BAD_CLOCK
        secret = self._settings.access_keys.get(key_id)
        if secret is None:
            return NO_SUCH_KEY
        if not signing.is_genuine(request, secret):
            return FORGED
        token = headers.get("x-security-token", "") if "x-security-token" in signed else ""
        if token != self._settings.session_tokens.get(key_id, ""):
            return NO_TOKEN
        return FORBIDDEN if key_id in self._settings.powerless else None

    def _issue_key(self, body: Body, now: float) -> Result | ControlError:
        for name in ("DurationSeconds", "ResourceType", "ResourceIds"):
            if body.get(name) is None:
                return missing_parameter(name)
        match body:
            case {"DurationSeconds": int(seconds), "ResourceType": str(kind), "ResourceIds": [str(resource)]}:
                pass
            case _:
                return wrong_parameter("DurationSeconds, ResourceType and one id in ResourceIds are expected")
        if not 0 < seconds <= LONGEST_LIFE or kind not in RESOURCE_TYPES:
            return wrong_parameter(f"at most {LONGEST_LIFE} seconds, and a type among {', '.join(RESOURCE_TYPES)}")
        if kind == "presetendpoint" and not body.get("ProjectName"):
            return missing_parameter("ProjectName")
        expires = int(now + min(seconds, self._settings.key_seconds or seconds))
        return {"ApiKey": self._keys.issue_key(resource, expires), "ExpiredTime": expires}


def missing_parameter(name: str) -> ControlError:
    return ControlError(400, 100002, "MissingParameter", f"The request is missing the parameter {name}.")


def wrong_parameter(why: str) -> ControlError:
    return ControlError(400, None, "InvalidParameter", f"A parameter is not valid: {why}.")


def encode_answer(answer: Result | ControlError, query: Mapping[str, str], request_id: str) -> bytes:
    """Return the answer as the control plane writes it."""
    metadata: dict[str, Any] = {
        "RequestId": request_id,
        "Action": query.get("Action", ""),
        "Version": query.get("Version", ""),
        "Service": _REALM.service,
        "Region": _REALM.region,
    }
    if not isinstance(answer, ControlError):
        return orjson.dumps({"ResponseMetadata": metadata, "Result": answer})
    number = {} if answer.number is None else {"CodeN": answer.number}
    metadata["Error"] = {**number, "Code": answer.code, "Message": answer.message}
    return orjson.dumps({"ResponseMetadata": metadata})


def _is_fresh(date: str, now: float) -> bool:
    try:
        at = datetime.strptime(date, _DATE).replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(at.timestamp() - now) <= signing.LIFETIME_S
