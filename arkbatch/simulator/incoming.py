"""Reading a request as far as every path reads it: the JSON and the model."""

from typing import Any

import orjson

from arkbatch.simulator import refusals
from arkbatch.simulator.refusals import Refusal


def parse_request(raw: bytes) -> dict[str, Any] | Refusal:
    """The body as the service reads it, with a model; the official SDK sends what is not set as null."""
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
