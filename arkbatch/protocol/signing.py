"""The signature of Volcengine's control plane (HMAC-SHA256), made and checked.

It knows how a request becomes a string and how a secret becomes a signature. It does not know what is asked, nor
when: the time is an argument. Chat and embeddings are never signed; only the call that fetches their temporary
key is (see `transport.auth`). The simulator checks requests with the same functions, which is honest because the
tests hold them against the documented examples and against signatures made by the official SDK.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec import Struct

ALGORITHM = "HMAC-SHA256"
LIFETIME_S = 900  # a request dated further than this from the server's clock is refused

_ALSO_SIGNED = {"host", "content-type", "content-md5"}


class AccessKey(Struct, frozen=True):
    """An access key with its secret, and the token of a temporary one (STS). None of them shows in a repr."""

    id: str
    secret: str
    token: str = ""

    def __repr__(self) -> str:
        return "AccessKey(…)"


class Realm(Struct, frozen=True):
    """Where a signature is valid."""

    region: str = "cn-beijing"
    service: str = "ark"

    def credential_scope(self, day: str) -> str:
        return f"{day}/{self.region}/{self.service}/request"


class Request(Struct, frozen=True):
    """What is signed. `path` is percent-encoded already, `query` is not."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


def sign_request(request: Request, host: str, key: AccessKey, realm: Realm, now: datetime) -> dict[str, str]:
    """Return the headers to send: the request's own, and those that prove who sent it and when. `now` is aware."""
    dated = {
        **request.headers,
        "Host": host,
        "X-Date": now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"),
        "X-Content-Sha256": _sha256_hex(request.body),
        **({"X-Security-Token": key.token} if key.token else {}),
    }
    signed = {name: value for name, value in dated.items() if _is_signed(name.lower())}
    return dated | {"Authorization": authorization_value(request, signed, key, realm)}


def authorization_value(request: Request, signed: Mapping[str, str], key: AccessKey, realm: Realm) -> str:
    """Return the value of `Authorization` over exactly the headers in `signed`, X-Date among them."""
    headers = _canonical_headers(signed)
    date = headers["x-date"]
    text = "\n".join((ALGORITHM, date, realm.credential_scope(date[:8]), canonical_hash(request, signed)))
    signature = hmac.new(signing_key(key.secret, date[:8], realm), text.encode(), hashlib.sha256).hexdigest()
    return (
        f"{ALGORITHM} Credential={key.id}/{realm.credential_scope(date[:8])}, "
        f"SignedHeaders={';'.join(headers)}, Signature={signature}"
    )


def canonical_hash(request: Request, signed: Mapping[str, str]) -> str:
    """Return the digest of the request in the form that both sides use."""
    headers = _canonical_headers(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    parts = (request.method, request.path or "/", canonical_query(request.query), lines)
    return _sha256_hex("\n".join((*parts, ";".join(headers), _sha256_hex(request.body))).encode())


def canonical_query(query: Mapping[str, str]) -> str:
    """Return the query as it is signed and sent: sorted, encoded by RFC 3986."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def parse_authorization(value: str) -> tuple[str, Realm, tuple[str, ...]] | None:
    """Parse an `Authorization` value into key id, realm and signed headers; None when it is no signature."""
    algorithm, _, rest = value.partition(" ")
    fields = dict(field.strip().partition("=")[::2] for field in rest.split(","))
    match fields.get("Credential", "").split("/"):
        case [key_id, _, region, service, "request"] if algorithm == ALGORITHM:
            return key_id, Realm(region, service), tuple(fields.get("SignedHeaders", "").split(";"))
    return None


def is_genuine(request: Request, secret: str) -> bool:
    """Whether the request carries the signature that the secret makes, over the headers that it names itself.

    Its age is for the caller to judge, for a wrong clock has an error of its own.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    claim = parse_authorization(headers.get("authorization", ""))
    if claim is None or not {"host", "x-date"} <= set(claim[2]) <= set(headers):
        return False
    key_id, realm, names = claim
    signed = {name: headers[name] for name in names}
    ours = authorization_value(request, signed, AccessKey(key_id, secret), realm)
    body_is_meant = headers.get("x-content-sha256", _sha256_hex(request.body)) == _sha256_hex(request.body)
    return body_is_meant and hmac.compare_digest(ours.encode(), headers["authorization"].encode())


def _is_signed(name: str) -> bool:
    return name in _ALSO_SIGNED or name.startswith("x-")


def _canonical_headers(headers: Mapping[str, str]) -> dict[str, str]:
    lowered = sorted((name.lower(), value.strip()) for name, value in headers.items())
    return {name: _without_usual_port(value) if name == "host" else value for name, value in lowered}


def _without_usual_port(host: str) -> str:
    return host.removesuffix(":80").removesuffix(":443")


def signing_key(secret: str, day: str, realm: Realm) -> bytes:
    """Return the key for one day, region and service that is derived from a secret."""
    key = secret.encode()
    for part in (day, realm.region, realm.service, "request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
