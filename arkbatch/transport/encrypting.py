"""A transport that encrypts each prompt before it leaves, and decrypts replies.

It holds a certificate for each model, makes a new secret for each attempt, and hands on a call only with every content
sealed. Whatever stands in the way is an answer before a byte of the prompt is sent: a row that cannot be sealed is
refused as the service would refuse it, a certificate that does not come is a broken exchange, one that must not be
used is a `Halted`. There is no switch and no fallback. A reply that cannot be opened, also one in clear, is broken.

`protocol.encrypted_fields` says what is encrypted and what stays readable, `protocol.encryption` how.
A streamed reply is opened after it was folded. Certificates are kept in memory for a week at most and never on disk.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
import orjson

from arkbatch.core.calls import Break, Broken, Call, Reply, Response
from arkbatch.core.errors import Halted, UsageError
from arkbatch.core.json_numbers import NOT_STRICT, dumps_as_written, loads_strict
from arkbatch.core.row import Body
from arkbatch.transport.transport import Transport

try:
    from cryptography.hazmat.primitives.asymmetric import ec

    from arkbatch.protocol import encryption as sealing
    from arkbatch.protocol.encrypted_fields import open_choices, seal_messages
    from arkbatch.protocol.encryption import AICC, Certificate, Seal, Unfit
except ModuleNotFoundError as error:
    raise UsageError("--encrypt needs one more library; install it with: pip install 'arkbatch[seal]'") from error

SEALABLE = frozenset({"/chat/completions", "/batch/chat/completions"})  # the service decrypts nowhere else
CERTIFICATE_PATH = "/e2e/get/certificate"

_KEPT_S = 7 * 86_400.0

CertificateOf = Callable[[str], Awaitable[str | Response]]
"""The text of a model's certificate, or what to answer to the row that needs it."""


class _Shelf:
    """The certificate of one model, and the lock behind which it is fetched."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.fetches = 0
        self.fetched_at = 0.0
        self.found: Certificate | Response | None = None


class SealedTransport:
    """Sends chat calls encrypted, and nothing else."""

    def __init__(
        self,
        inner: Transport,
        certificate_of: CertificateOf,
        wall: Callable[[], float],
        *,
        confidential: bool = False,
    ) -> None:
        self._inner = inner
        self._certificate_of = certificate_of
        self._wall = wall
        self._confidential = confidential
        self._shelves: dict[str, _Shelf] = {}

    async def send(self, call: Call) -> Response:
        """Raises `Halted` when there is a certificate that must not be used."""
        body = _chat_body(call)
        if isinstance(body, Unfit):
            return _refusal_reply(body)
        certificate = await self._shared_certificate(body["model"])
        if not isinstance(certificate, Certificate):
            return certificate
        try:
            seal = sealing.seal_for_call(certificate, ec.generate_private_key(ec.SECP256R1()))
            sealed = seal_messages(body, seal.encrypt_text)
        except (ValueError, OverflowError) as error:  # what the arithmetic has to say of what it cannot do
            return _refusal_reply(Unfit(f"the encryption failed ({type(error).__name__})"))
        if isinstance(sealed, Unfit):
            return _refusal_reply(sealed)
        names = sealing.sealing_headers(certificate, seal, confidential=self._confidential)
        return _decrypt_reply(await self._inner.send(_with_headers(call, sealed, names)), seal)

    async def _shared_certificate(self, model: str) -> Certificate | Response:
        """One fetch at a time; all who waited for it share what it found, also a failure."""
        shelf = self._shelves.setdefault(model, _Shelf())
        fetches = shelf.fetches
        if not self._is_fresh(shelf):
            async with shelf.lock:
                if shelf.fetches == fetches:
                    shelf.found = await self._fetch_certificate(model)
                    shelf.fetched_at = self._wall()
                    shelf.fetches += 1
        assert shelf.found is not None
        return shelf.found

    def _is_fresh(self, shelf: _Shelf) -> bool:
        now = self._wall()
        return (
            isinstance(shelf.found, Certificate)
            and now - shelf.fetched_at < _KEPT_S
            and sealing.check_dates(shelf.found, _utc_date(now)) is None
        )

    async def _fetch_certificate(self, model: str) -> Certificate | Response:
        pem = await self._certificate_of(model)
        if not isinstance(pem, str):
            return pem
        certificate = sealing.read_certificate(pem, _utc_date(self._wall()), confidential=self._confidential)
        if isinstance(certificate, Unfit):
            raise Halted(
                f"the encryption certificate for {model} must not be used: {certificate.reason}; "
                "nothing was sent. Give a good one with --certificate, or ask the service for a new one"
            )
        return certificate


def from_service(inner: Transport, *, confidential: bool = False) -> CertificateOf:
    """Certificates as an API key gets them: asked of the data plane, over the transport that is wrapped."""

    async def certificate_of(model: str) -> str | Response:
        question = {"model": model, **({"type": AICC} if confidential else {})}
        headers = {"X-Session-Token": CERTIFICATE_PATH}
        client_id = f"certificate-{model}"
        call = Call(client_id, "certificate", CERTIFICATE_PATH, orjson.dumps(question), headers, model)
        reply = await inner.send(call)
        return reply if isinstance(reply, Broken) else _certificate_in(reply)

    return certificate_of


def from_text(pem: str) -> CertificateOf:
    """One certificate for all models: that of a file which the user named."""

    async def certificate_of(_model: str) -> str:
        return pem

    return certificate_of


def _certificate_in(reply: Reply) -> str | Response:
    """An error goes to the row as it came, for a refused key or a closed endpoint is told here first."""
    answer = _parse_object(reply.body) or {}
    if reply.status != 200 or answer.get("error"):
        return reply
    match answer:
        case {"Certificate": str(pem)} if pem:
            return pem
    return Broken(Break.GARBLED, "no certificate in the answer, so nothing was sent", reply.seconds)


def _chat_body(call: Call) -> Body | Unfit:
    if call.path not in SEALABLE:
        return Unfit(f"calls to {call.path} cannot be encrypted, only chat can")
    body = _parse_object(call.body, as_written=True)
    if body is None or not isinstance(body.get("model"), str):
        return Unfit("the body is no chat call with a model")
    return body


def _with_headers(call: Call, body: Body, headers: dict[str, str]) -> Call:
    """Our headers replace any that differ only in their case: two of a kind could be read either way."""
    ours = {name.lower() for name in headers}
    kept = {name: value for name, value in call.headers.items() if name.lower() not in ours}
    return msgspec.structs.replace(call, body=dumps_as_written(body), headers={**kept, **headers})


def _decrypt_reply(response: Response, seal: Seal) -> Response:
    if isinstance(response, Broken) or not 200 <= response.status < 300:
        return response  # errors come in clear
    body = _parse_object(response.body)
    if body is None:
        return response
    opened = open_choices(body, seal)
    if isinstance(opened, Unfit):
        return Broken(Break.GARBLED, f"the encrypted reply is unusable: {opened.reason}", response.seconds)
    return msgspec.structs.replace(response, body=orjson.dumps(opened))


def _refusal_reply(unfit: Unfit) -> Reply:
    """In the service's words, so that the row fails as one that the service refused: for good, and only this one."""
    error = {"code": "InvalidParameter.NotEncryptable", "type": "BadRequest"}
    message = f"{unfit.reason}; not sent, because encryption was asked for"
    return Reply(400, orjson.dumps({"error": {**error, "message": message}}), {}, 0.0)


def _parse_object(data: bytes, *, as_written: bool = False) -> Body | None:
    try:
        parsed = loads_strict(data) if as_written else orjson.loads(data)
    except (orjson.JSONDecodeError, *NOT_STRICT):
        return None
    return parsed if isinstance(parsed, dict) else None


def _utc_date(wall: float) -> datetime:
    return datetime.fromtimestamp(wall, UTC)
