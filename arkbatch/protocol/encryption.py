"""Ark's application-layer encryption of requests and replies.

ECDH on P-256 with an ephemeral key, HKDF-SHA256 to an AES-256-GCM key and nonce, each field as base64 of ciphertext
and tag. Which fields those are is said in `encrypted_fields`; that nothing leaves unencrypted is kept by
`transport.encrypting`. Where the official SDK checks nothing, the certificate is checked here.

All fields of a call and its reply share one nonce, so equal texts are visibly equal and the XOR of two texts can be
read. That is the service's design, known from the official SDK, and cannot be changed on one side. Fresh for each
call is the key: `seal_for_call` needs a new ephemeral one every time.

Imports `cryptography`, which the extra `arkbatch[seal]` installs; nothing else in `core` does.
"""

import base64
import binascii
import codecs
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

AICC = "AICCv0.1"

_TAG = 16  # bytes
_KEY = 32
_NONCE = 12
_BLOB = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_FIRST_LOOK = 1024  # bytes
_NOISE = 64  # bytes of noise that are UTF-8 by accident: never, in practice (about 0.55 to this power)


class Unfit(Struct, frozen=True):
    """Why something cannot be used: a certificate, a request or a reply. One line for people."""

    reason: str


class Certificate(Struct, frozen=True):
    """The public half of the service's key. `ring_id` and `key_id` are empty outside confidential computing."""

    public_key: ec.EllipticCurvePublicKey
    not_before: datetime
    not_after: datetime
    ring_id: str = ""
    key_id: str = ""


class Seal(Struct, frozen=True):
    """The secret of one call, shared by its request and its reply."""

    key: bytes
    nonce: bytes
    token: str

    def __repr__(self) -> str:
        return "Seal(…)"

    def encrypt_text(self, text: str) -> str:
        """Return a text as it is sent."""
        return base64.b64encode(AESGCM(self.key).encrypt(self.nonce, text.encode(), None)).decode()


def read_certificate(pem: str, now: datetime, *, confidential: bool) -> Certificate | Unfit:
    """Return the first certificate of the text, if it can be used now.

    Its issuer is not checked: the service publishes no root to check against, so what vouches for the certificate is
    the TLS connection that brought it, or the person who named its file.
    """
    try:
        parsed = x509.load_pem_x509_certificate(pem.encode())
        public_key = parsed.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return Unfit(f"it cannot be read ({error or type(error).__name__})")
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        return Unfit("its key is not on the curve P-256")
    ring_id, key_id = _names_in(parsed)
    certificate = Certificate(public_key, parsed.not_valid_before_utc, parsed.not_valid_after_utc, ring_id, key_id)
    if confidential and not (ring_id and key_id):
        return Unfit("it names no ring and no key, so it is not one for confidential computing (AICC)")
    return check_dates(certificate, now) or certificate


def check_dates(certificate: Certificate, now: datetime) -> Unfit | None:
    if now < certificate.not_before:
        return Unfit(
            f"it is valid only from {certificate.not_before:%Y-%m-%d %H:%M} UTC; is this machine's clock right?"
        )
    if now > certificate.not_after:
        return Unfit(f"it expired on {certificate.not_after:%Y-%m-%d %H:%M} UTC")
    return None


def seal_for_call(certificate: Certificate, ephemeral: ec.EllipticCurvePrivateKey) -> Seal:
    """Return the secret of one call. `ephemeral` must be a new key: used twice, two calls would share key and nonce."""
    shared = ephemeral.exchange(ec.ECDH(), certificate.public_key)
    return _derive_seal(shared, ephemeral.public_key())


def seal_from_token(token: str, private: ec.EllipticCurvePrivateKey) -> Seal | Unfit:
    """Return the same secret on the service's side, from the token that came with the call."""
    try:
        point = base64.b64decode(token, validate=True)
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        return Unfit("the session token is no point on P-256")
    return _derive_seal(private.exchange(ec.ECDH(), public), public)


def sealing_headers(certificate: Certificate, seal: Seal, *, confidential: bool) -> dict[str, str]:
    """Return the headers that say how the call is sealed. The service needs this spelling of the names."""
    info: dict[str, Any] = {"ExpireTime": certificate.not_after.timestamp()}
    if confidential:
        info |= {"Version": AICC, "KeyID": certificate.key_id, "RingID": certificate.ring_id}
    return {"x-is-encrypted": "true", "X-Session-Token": seal.token, "X-Encrypt-Info": json.dumps(info)}


def open_text(text: object, seal: Seal) -> str | Unfit:
    """Open one or more sealed texts in a row. The joined parts of a stream are such a row."""
    if not isinstance(text, str) or not text.isascii():
        return Unfit("is not encrypted")
    data = text.encode()
    pieces: list[str] = []
    place = 0
    while place < len(data):
        found = _BLOB.match(data, place)
        if found is None or len(found[0]) % 4:
            return Unfit("is not encrypted")
        try:
            pieces.extend(_open_row(binascii.a2b_base64(found[0], strict_mode=True), seal))
        except (binascii.Error, InvalidTag):
            return Unfit("cannot be decrypted with the key of this call")
        place = found.end()
    return "".join(pieces)


def _open_row(row: bytes, seal: Seal) -> Iterator[str]:
    """Sealed texts that touch without padding: nothing tells where one ends but its tag, which must fit.

    Trying every end would be quadratic, for each try reads the whole text. But past its end a text decrypts to noise,
    which is soon no UTF-8, so the end lies just before the first byte that is none.
    """
    cipher = AESGCM(seal.key)
    while row:
        end, text = _first_text(row, cipher, seal)
        yield text
        row = row[end:]


def _first_text(row: bytes, cipher: AESGCM, seal: Seal) -> tuple[int, str]:
    for end in _possible_ends(row, seal):
        try:
            return end, cipher.decrypt(seal.nonce, row[:end], None).decode()
        except (InvalidTag, UnicodeDecodeError):
            continue
    raise InvalidTag


def _possible_ends(row: bytes, seal: Seal) -> Iterator[int]:
    """The whole row first, for it is mostly one text; then, lazily, the ends that leave whole groups of base64."""
    yield len(row)
    last = _last_end(row, seal)
    yield from (end for end in range(last, max(_TAG, last - _NOISE) - 1, -1) if end % 3 == 0)


def _last_end(row: bytes, seal: Seal) -> int:
    """The farthest place where the first sealed text in the row, with its tag, can end."""
    stream = Cipher(algorithms.AES(seal.key), modes.CTR(seal.nonce + b"\0\0\0\2")).decryptor()
    decoder = codecs.getincrementaldecoder("utf-8")()
    read, look = 0, _FIRST_LOOK
    while read < len(row):
        part = stream.update(row[read : read + look])
        try:
            decoder.decode(part)
        except UnicodeDecodeError as error:
            return min(len(row), read + error.start + _TAG)
        read, look = read + len(part), look * 2
    return len(row)


def _derive_seal(shared: bytes, ephemeral: ec.EllipticCurvePublicKey) -> Seal:
    material = HKDF(hashes.SHA256(), _KEY + _NONCE, salt=None, info=None).derive(shared)
    point = ephemeral.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return Seal(material[:_KEY], material[_KEY:], base64.b64encode(point).decode())


def _names_in(certificate: x509.Certificate) -> tuple[str, str]:
    """The ring and the key that a confidential-computing certificate carries as its first two DNS names."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return "", ""
    match extension.value.get_values_for_type(x509.DNSName)[:2]:
        case [ring, key] if ring.startswith("ring.") and key.startswith("key."):
            return ring.removeprefix("ring."), key.removeprefix("key.")
    return "", ""
