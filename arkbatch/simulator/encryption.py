"""The service's side of encryption: certificate, opening requests, sealing replies.

The private key follows from the seed, so that a client's cached certificate is still valid after a restart. The module
imports `cryptography` (the extra `arkbatch[seal]`), so it is imported only when encryption is used.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from arkbatch.protocol.encryption import AICC, Seal, Unfit, open_text, seal_from_token
from arkbatch.simulator import chunks
from arkbatch.simulator.refusals import Refusal, invalid_parameter
from arkbatch.simulator.seeded_random import random_for

RING_ID = "simulated-ring"
KEY_ID = "simulated-key"
_FETCHED = ("http:", "https:")
_YEAR = timedelta(days=365)

Body = dict[str, Any]


class Vault:
    """The service's private key; `kind` is one of `settings.CERTIFICATES`."""

    def __init__(self, seed: int, kind: str) -> None:
        self._private = ec.derive_private_key(1 + int.from_bytes(str(seed).encode()) % 2**250, ec.SECP256R1())
        self._kind = kind

    def make_certificate(self, now: float, *, confidential: bool) -> str:
        """Return a self-signed certificate, valid from a year ago for six years.

        now: unix seconds
        """
        today = datetime.fromtimestamp(int(now), UTC)
        until = today - timedelta(days=1) if self._kind == "expired" else today + 5 * _YEAR
        private = ec.generate_private_key(ec.SECP384R1()) if self._kind == "wrong_curve" else self._private
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "arkbatch simulator")])
        builder = (
            x509.CertificateBuilder(name, name, private.public_key(), 1 + int(now))
            .not_valid_before(today - _YEAR)
            .not_valid_after(until)
        )
        if confidential:
            names = [x509.DNSName(f"ring.{RING_ID}"), x509.DNSName(f"key.{KEY_ID}")]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def open_body(self, body: Body, headers: Mapping[str, str]) -> tuple[Body, Seal] | Refusal:
        """Return the body in clear, and the secret for the reply."""
        if why := _wrong_header(headers.get("X-Encrypt-Info", "")):
            return invalid_parameter("X-Encrypt-Info", why)
        seal = seal_from_token(headers.get("X-Session-Token", ""), self._private)
        if isinstance(seal, Unfit):
            return invalid_parameter("X-Session-Token", seal.reason)
        try:
            return {**body, "messages": _open_messages(body.get("messages"), seal)}, seal
        except _NotSealed as fault:
            return invalid_parameter("messages", str(fault))


def reply_sealer(seal: Seal, pieces: int, fault: str | None) -> Callable[[str], str]:
    """Return a function that seals a text of the reply into so many parts."""
    if fault == "reply_in_clear":
        return lambda text: text
    if fault == "wrong_seal":
        seal = replace(seal, key=bytes(byte ^ 1 for byte in seal.key))
    return lambda text: "".join(map(seal.encrypt_text, chunks.cut_text(text, random_for(b""), pieces) or [""]))


class _NotSealed(Exception):
    """A content cannot be opened."""


def _open_messages(messages: Any, seal: Seal) -> Any:
    """Return the messages in clear; malformed ones are left for `checks` to refuse."""
    if not isinstance(messages, list):
        return messages
    return [
        {**message, "content": _open_content(message["content"], seal)}
        if isinstance(message, dict) and "content" in message
        else message
        for message in messages
    ]


def _open_content(content: Any, seal: Seal) -> Any:
    match content:
        case str():
            return _open_text(content, seal)
        case list():
            return [_open_part(part, seal) for part in content]
    return content


def _open_part(part: Any, seal: Seal) -> Any:
    match part:
        case {"type": "text", "text": str(text)}:
            return {**part, "text": _open_text(text, seal)}
        case {"type": "image_url", "image_url": {"url": str(url)} as image} if not url.startswith(_FETCHED):
            return {**part, "image_url": {**image, "url": _open_text(url, seal)}}
    return part


def _open_text(text: str, seal: Seal) -> str:
    opened = open_text(text, seal)
    if isinstance(opened, Unfit) or not text:
        raise _NotSealed("a content is not encrypted, or not with the key of this call")
    return opened


def _wrong_header(info: str) -> str:
    """Return what is wrong with the header that names the certificate, "" for nothing."""
    try:
        told = orjson.loads(info)
    except orjson.JSONDecodeError:
        return "it must be a JSON object"
    match told:
        case {"Version": version} if (version, told.get("KeyID"), told.get("RingID")) != (AICC, KEY_ID, RING_ID):
            return "it names another key"
        case {"ExpireTime": int() | float()}:
            return ""
    return "ExpireTime must be a number"
