"""The signature of TOS, Volcengine's object storage (`TOS4-HMAC-SHA256`), made and checked.

It is that of the control plane with another word for the algorithm and other headers. The body is not part of it, so
that a file can be sent while it is read. The tests hold it against what the official `tos` package signs.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from arkbatch.protocol.signing import AccessKey, Realm, canonical_query, signing_key

ALGORITHM = "TOS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_DATE = "%Y%m%dT%H%M%SZ"


class StorageRequest(Struct, frozen=True):
    """What is signed. `path` is percent-encoded already, `query` is not."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


def sign_storage(request: StorageRequest, host: str, key: AccessKey, region: str, now: datetime) -> dict[str, str]:
    """Return the headers to send: the request's own, and those that prove who sent it and when. `now` is aware."""
    dated = {
        **request.headers,
        "Host": host,
        "x-tos-date": now.astimezone(UTC).strftime(_DATE),
        "x-tos-content-sha256": _UNSIGNED,
        **({"x-tos-security-token": key.token} if key.token else {}),
    }
    signed = {name.lower(): value for name, value in dated.items() if _is_signed(name.lower())}
    realm = Realm(region, "tos")
    scope = realm.credential_scope(signed["x-tos-date"][:8])
    signature = _hmac_signature(request, signed, key.secret, realm)
    names = ";".join(sorted(signed))
    return dated | {
        "Authorization": f"{ALGORITHM} Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    }


def storage_signer(authorization: str) -> tuple[str, str, tuple[str, ...], str] | None:
    """Parse an `Authorization` value into key id, region, signed headers and signature; None if it is none."""
    algorithm, _, rest = authorization.partition(" ")
    fields = dict(field.strip().partition("=")[::2] for field in rest.split(","))
    match fields.get("Credential", "").split("/"):
        case [key_id, _, region, "tos", "request"] if algorithm == ALGORITHM:
            names = tuple(fields.get("SignedHeaders", "").split(";"))
            return key_id, region, names, fields.get("Signature", "")
    return None


def is_genuine_storage(request: StorageRequest, secret: str) -> bool:
    """Whether a request carries the signature that the secret makes, over the headers that it names itself."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    claim = storage_signer(headers.get("authorization", ""))
    if claim is None or not {"host", "x-tos-date"} <= set(claim[2]) <= set(headers):
        return False
    _, region, names, signature = claim
    ours = _hmac_signature(request, {name: headers[name] for name in names}, secret, Realm(region, "tos"))
    return hmac.compare_digest(ours, signature)


def _is_signed(name: str) -> bool:
    return name in {"host", "content-type"} or name.startswith("x-tos-")


def _hmac_signature(request: StorageRequest, signed: Mapping[str, str], secret: str, realm: Realm) -> str:
    names = sorted(signed)
    lines = "".join(f"{name}:{signed[name]}\n" for name in names)
    payload = signed.get("x-tos-content-sha256", _UNSIGNED)
    canonical = "\n".join(
        (request.method, request.path, canonical_query(request.query), lines, ";".join(names), payload)
    )
    date = signed["x-tos-date"]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((ALGORITHM, date, realm.credential_scope(date[:8]), digest))
    return hmac.new(signing_key(secret, date[:8], realm), text.encode(), hashlib.sha256).hexdigest()
