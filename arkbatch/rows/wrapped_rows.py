"""Reads rows that have their request in `body`, as batch files do."""

import re
from typing import Any

from msgspec import Struct

from arkbatch.core.row import Body
from arkbatch.protocol.endpoints import ENDPOINTS, by_url, passthrough, responses
from arkbatch.protocol.endpoints.parameter_checks import MISTAKEN
from arkbatch.protocol.endpoints.parameter_names import known_parameters
from arkbatch.rows.record_json import json_or_text, shown_value, type_in_words

# Beside `body` these say how and as what the row is sent, and are no columns.
BESIDE_BODY = {"custom_id", "body", "url", "method", "request_id"}
MAX_REQUEST_ID_LETTERS = 200
_HEADERS_BY_ROW = (
    "headers beside body cannot be sent with one row: leave them out, or give them for all rows in the job file"
)
# Whoever writes one of these beside a body expects that its prompt does not leave in clear.
_ENCRYPTION = re.compile(
    r"(x|is|xis|use|enable|with)?(e2e|endtoend)?(encrypt|encrypted|encryption|confidential|aicc)(mode|type|method)?"
)
_NO_WISH = {"", "0", "false", "no", "none", "null", "off"}


class Draft(Struct):
    """A row understood: its body, and the endpoint if the row itself names one."""

    body: Body
    endpoint: str | None = None


def read_wrapped_row(value: dict[str, Any], *, by_cells: bool, is_encrypted: bool = False) -> Draft | str:
    """Read Ark's and OpenAI's form; settings beside `body` count, or are refused.

    is_encrypted: the job encrypts what it sends
    """
    body, url, method = value["body"], value.get("url"), value.get("method", "POST")
    if by_cells and isinstance(body, str):
        body = json_or_text(body)
    if not isinstance(body, dict):
        return f"body holds {type_in_words(body)}, not an object in braces"
    if method not in {"POST", None}:
        return f"method {shown_value(method)} cannot be sent; only POST is"
    for name, each in value.items():
        if name in BESIDE_BODY or (is_encrypted and asks_for_encryption(name, each)):
            continue
        if (problem := _take_into_body(body, name, each)) is not None:
            return problem
    if url is None or (by_cells and not url):
        return Draft(body)
    endpoint = by_url(url) if isinstance(url, str) else None
    if endpoint is None:
        known = ", ".join(entry.path for entry in ENDPOINTS.values() if not passthrough.is_path(entry.name))
        return (
            f"url {shown_value(url)} is no endpoint that arkbatch knows ({known}), and no other path below a version, "
            "such as /v1/rerank"
        )
    return Draft(body, endpoint)


def is_request_id(value: Any) -> bool:
    """Whether a header can hold a request id; none at all is fine."""
    if value is None or value == "":
        return True
    return isinstance(value, str) and len(value) <= MAX_REQUEST_ID_LETTERS and value.isascii() and value.isprintable()


def asks_for_encryption(name: str, value: Any) -> bool:
    """Whether a field beside the body asks for encryption, however it is written."""
    letters = name.lower().replace("-", "").replace("_", "")
    return _ENCRYPTION.fullmatch(letters) is not None and str(value).strip().lower() not in _NO_WISH


def is_setting(name: str, value: Any) -> bool:
    """Whether a field beside the body is refused, since it is no column but asks for what would not happen."""
    return name in MISTAKEN or name == "headers" or asks_for_encryption(name, value)


def _take_into_body(body: Body, name: str, value: Any) -> str | None:
    """Put a parameter beside the body into it; return why that cannot be done, or None."""
    if value is None or value is False or value == "":
        return None
    if asks_for_encryption(name, value):
        return MISTAKEN["encrypt"](name, value)
    if name in MISTAKEN:
        return MISTAKEN[name](name, value)
    if name == "headers":
        return _HEADERS_BY_ROW
    if name not in known_parameters(endpoint_of_body(body)):
        return None
    if body.get(name) not in (None, value):
        beside, within = shown_value(value), shown_value(body[name])
        return f"{name} stands beside body as {beside} and in it as {within}: leave one of them out"
    body[name] = value
    return None


def endpoint_of_body(body: Any) -> str:
    if not isinstance(body, dict) or "messages" in body:
        return "chat"
    return responses.NAME if responses.is_meant(body) else "embeddings"
