"""Small constructors, so that a test names only what it is about."""

import orjson

from arkbatch.core.calls import Cause, Kind, Reply
from arkbatch.core.outcomes import Attempt, Failure, Success
from arkbatch.core.row import BadRow, Before, Row


def row(number=1, **changes):
    values = {
        "number": number,
        "offset": (number - 1) * 100,
        "digest": f"{number:016x}",
        "custom_id": f"id-{number}",
        "endpoint": "chat",
        "body": {"model": "doubao", "messages": [{"role": "user", "content": f"prompt {number}"}]},
    }
    return Row(**(values | changes))


def bad_row(number=1, reason="not JSON", **changes):
    values = {"number": number, "offset": (number - 1) * 100, "digest": f"{number:016x}", "custom_id": f"id-{number}"}
    return BadRow(**(values | {"reason": reason, "text": "{oops"} | changes))


def reply(body=None, status=200, seconds=0.5, **headers):
    if body is None:
        body = {
            "id": "02",
            "model": "doubao-x",
            "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
        }
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Reply(status, raw, {"x-request-id": "02" + "0" * 51} | headers, seconds)


def success(number=1, *, input=10, output=5, model="doubao-x", before=(), **changes):
    values = {
        "row": row(number, before=before),
        "reply": reply(),
        "model": model,
        "service_tier": "default",
        "attempts": 1,
        "calls": [Attempt("c-1", "done", 0.5, "02", 200)],
        "usage": {"input": input, "output": output},
        "discarded": {},
        "seconds": 0.5,
    }
    return Success(**(values | changes))


def failure(number=1, *, kind=Kind.TIMEOUT, code="", usage=None, before=(), **changes):
    values = {
        "row": row(number, before=before),
        "cause": Cause(kind, code, "it failed"),
        "attempts": 2,
        "usage": usage or {},
        "seconds": 3.0,
    }
    return Failure(**(values | changes))


def before(kind=Kind.TIMEOUT, code="", *, model="", attempts=2, usage=None):
    return Before(str(kind), code, "chat", model, "", attempts, usage or {})
