"""Removes secrets from replies, since some servers repeat them.

What a reply says is kept in records and logs. So neither its body nor its headers, nor the text about a broken
exchange, may contain a key.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

import msgspec
import orjson
from multidict import CIMultiDict

from arkbatch.core.calls import Broken, Response

STRUCK = "***"
# The key for a local server is often a word, such as `anything`, which may stand in an answer.
_MIN_SECRET, _MIN_SECRET_WORD = 8, 20  # characters, with a digit among them and without one
_Forms = tuple[tuple[str, bytes], ...]


def is_secret(value: str) -> bool:
    return len(value) >= (_MIN_SECRET if any(map(str.isdigit, value)) else _MIN_SECRET_WORD)


class Redaction:
    """Removes the call's key and other secrets that go out with each call.

    secrets: those besides the key
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms = tuple(form for secret in secrets for form in _forms_of_secret(secret))
        self._by_header: dict[str, _Forms] = {}

    def strike_secrets(self, response: Response, authorization: str) -> Response:
        """Return the response without the secrets, and with headers that can be written."""
        forms = self._by_header.get(authorization)
        if forms is None:
            forms = (*_forms_of_secret(authorization.removeprefix("Bearer ")), *self._forms)
            self._by_header = {authorization: forms}  # of the last key alone: a temporary one is replaced
        if isinstance(response, Broken):
            detail, body = _clean_text(response.detail, forms), _clean_bytes(response.body, forms)
            return msgspec.structs.replace(response, detail=detail, body=body)
        values, body = "\n".join(response.headers.values()), response.body
        if values.isascii():
            for form, raw in forms:
                if raw in body or form in values:
                    break
            else:
                return response
        headers = _clean_headers(response.headers, forms)
        return msgspec.structs.replace(response, headers=headers, body=_clean_bytes(body, forms))


def _forms_of_secret(secret: str) -> _Forms:
    """Return the forms of a secret, as text and as bytes: as it is, in JSON, in a URL."""
    if not is_secret(secret):
        return ()
    forms = (secret, orjson.dumps(secret).decode()[1:-1], quote(secret, safe=""), quote(secret))
    return tuple((form, form.encode()) for form in dict.fromkeys(forms))


def _clean_text(text: str, forms: _Forms) -> str:
    for form, _ in forms:
        text = text.replace(form, STRUCK)
    return text


def _clean_bytes(body: bytes, forms: _Forms) -> bytes:
    for _, raw in forms:
        body = body.replace(raw, STRUCK.encode())
    return body


def _clean_headers(headers: Mapping[str, str], forms: _Forms) -> Mapping[str, str]:
    """Decode headers as Latin-1 where aiohttp made half surrogate pairs, which no record can hold."""
    cleaned: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        cleaned.add(_clean_text(_readable_text(name), forms), _clean_text(_readable_text(value), forms))
    return cleaned


def _readable_text(text: str) -> str:
    if text.isascii():
        return text
    raw = text.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
