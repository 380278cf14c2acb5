"""Replies as providers other than Ark write them.

Each dialect is a fault of the menu. Its answer says and bills the same as Ark's, in another form, so that a client can
be checked against what was billed. The forms are those of the providers' documents and of public bug reports.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import orjson
from msgspec import Struct

Body = dict[str, Any]

_JSON = "application/json"
_EVENTS = "text/event-stream"
_DONE = b"data: [DONE]\n\n"
_DEEP_LEVELS = 300
_TICKS_PER_TOKEN = 5000


class ReplyDialect(Struct, frozen=True):
    """How one kind of server writes an answer.

    usage: the usage object from Ark's
    usage_place: where a stream has its usage: in a last chunk without choices, or elsewhere
    finish: the finish reason in the place of Ark's; such an answer is billed all the same
    error: an error beside the finish reason
    change_json: changes the bytes of the answer, or of each chunk of a stream
    before, after: bytes around the whole reply
    done: the last event of a stream
    pings: signs of life between the events of a stream
    is_other_kind: a stream is answered whole, and a plain call by a stream
    """

    about: str
    usage: Callable[[Body], Body] | None = None
    usage_place: Literal["last", "choice", "x_groq", "with_finish"] = "last"
    finish: str = ""
    error: Body | None = None
    change_json: Callable[[bytes], bytes] | None = None
    before: bytes = b""
    after: bytes = b""
    done: bytes = _DONE
    pings: bytes = b""
    content_type: str = ""
    is_other_kind: bool = False


class ForeignError(Struct, frozen=True):
    """An error reply of another provider; a call that gets it is worth another try."""

    about: str
    status: int
    body: Any
    content_type: str = _JSON


def _reasoning_in(usage: Body) -> int:
    return int(usage["completion_tokens_details"]["reasoning_tokens"])


def _cached_in(usage: Body) -> int:
    return int(usage["prompt_tokens_details"]["cached_tokens"])


def _three_counts(usage: Body, **more: Any) -> Body:
    return {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")} | more


def _xai_usage(usage: Body) -> Body:
    ticks = _TICKS_PER_TOKEN * usage["total_tokens"]
    said = usage["completion_tokens"] - _reasoning_in(usage)
    return usage | {"completion_tokens": said, "cost_in_usd_ticks": ticks, "num_sources_used": 0}


def _gemini_usage(usage: Body) -> Body:
    return _three_counts(usage) | {"completion_tokens": usage["completion_tokens"] - _reasoning_in(usage)}


def _deepinfra_usage(usage: Body) -> Body:
    said = usage["completion_tokens"] - _reasoning_in(usage)
    return usage | {"completion_tokens": said, "total_tokens": usage["prompt_tokens"] + said, "estimated_cost": 1e-05}


def _deepseek_usage(usage: Body) -> Body:
    cached = _cached_in(usage)
    hits = {"prompt_cache_hit_tokens": cached, "prompt_cache_miss_tokens": usage["prompt_tokens"] - cached}
    return _three_counts(usage, **hits)


def _kimi_usage(usage: Body) -> Body:
    return _three_counts(usage, cached_tokens=_cached_in(usage))


def _mistral_usage(usage: Body) -> Body:
    return _three_counts(usage, num_cached_tokens=_cached_in(usage), prompt_audio_seconds=None)


def _sglang_usage(usage: Body) -> Body:
    return _three_counts(usage, reasoning_tokens=_reasoning_in(usage), prompt_tokens_details=None)


def _groq_usage(usage: Body) -> Body:
    return usage | {"queue_time": 0.02, "prompt_time": 0.001, "completion_time": 0.2, "total_time": 0.221}


def _openrouter_usage(usage: Body) -> Body:
    cost = _TICKS_PER_TOKEN * usage["total_tokens"] / 1e10
    return usage | {"cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}


def _counts_as_text(usage: Body) -> Body:
    return {name: str(value) if type(value) is int else value for name, value in usage.items()}


def _counts_as_floats(usage: Body) -> Body:
    return {name: float(value) if type(value) is int else value for name, value in usage.items()}


def _nan_logprobs(reply: bytes) -> bytes:
    return reply.replace(b'"logprobs":null', b'"logprobs":{"content":[{"logprob":-Infinity,"top":NaN}]}')


def _half_surrogate(reply: bytes) -> bytes:
    return reply.replace(b'"content":"', b'"content":"\\ud83d', 1)


def _deep_field(reply: bytes) -> bytes:
    return reply[:-1] + b',"trace":' + b"[" * _DEEP_LEVELS + b"]" * _DEEP_LEVELS + b"}"


DIALECTS: Mapping[str, ReplyDialect] = {
    "like_xai": ReplyDialect("reasoning stands beside completion_tokens, the cost in ticks", usage=_xai_usage),
    "like_gemini": ReplyDialect("reasoning shows in total_tokens alone", usage=_gemini_usage),
    "like_deepinfra": ReplyDialect("reasoning stands beside completion_tokens and total", usage=_deepinfra_usage),
    "like_deepseek": ReplyDialect(
        "cached input as prompt_cache_hit_tokens", usage=_deepseek_usage, usage_place="with_finish"
    ),
    "like_kimi": ReplyDialect(
        "cached input at the top of usage, a stream's usage in its choice", usage=_kimi_usage, usage_place="choice"
    ),
    "like_mistral": ReplyDialect("cached input as num_cached_tokens", usage=_mistral_usage, usage_place="with_finish"),
    "like_sglang": ReplyDialect("reasoning at the top of usage", usage=_sglang_usage),
    "like_groq": ReplyDialect("a stream's usage in x_groq", usage=_groq_usage, usage_place="x_groq"),
    "like_openrouter": ReplyDialect(
        "the cost in usage, comments in a stream", usage=_openrouter_usage, pings=b": OPENROUTER PROCESSING\n\n"
    ),
    "counts_as_text": ReplyDialect("counts of tokens as texts", usage=_counts_as_text),
    "counts_as_floats": ReplyDialect("counts of tokens as 20.0", usage=_counts_as_floats),
    "byte_order_mark": ReplyDialect("a byte order mark before the reply", before=b"\xef\xbb\xbf"),
    "text_behind": ReplyDialect("a comment of a proxy behind the reply", after=b"\n<!-- served by proxy 7 -->\n"),
    "nan_logprobs": ReplyDialect("NaN and Infinity in the reply", change_json=_nan_logprobs),
    "half_surrogate": ReplyDialect("half a surrogate pair in the answer", change_json=_half_surrogate),
    "deep_field": ReplyDialect("a field nested 300 levels deep", change_json=_deep_field),
    "html_type": ReplyDialect("Content-Type text/html for JSON and events", content_type="text/html"),
    "quoted_done": ReplyDialect(
        "pings in a stream, and [DONE] in quotes", done=b'data: "[DONE]"\n\n', pings=b"data: ping\n\n"
    ),
    "other_kind": ReplyDialect("a stream answered whole, a plain call by a stream", is_other_kind=True),
    "finish_abort": ReplyDialect("an answer broken off, finish reason abort", finish="abort"),
    "finish_network": ReplyDialect("an answer broken off, finish reason network_error", finish="network_error"),
    "finish_resource": ReplyDialect(
        "an answer broken off, finish reason insufficient_system_resource", finish="insufficient_system_resource"
    ),
    "error_in_choice": ReplyDialect(
        "an answer broken off, with an error in its choice",
        finish="error",
        error={
            "code": 502,
            "message": "Upstream error from the provider",
            "metadata": {"error_type": "provider_unavailable"},
        },
    ),
}

ERRORS: Mapping[str, ForeignError] = {
    "minimax_error": ForeignError(
        "200 with base_resp 1000 of MiniMax",
        200,
        {"choices": None, "base_resp": {"status_code": 1000, "status_msg": "unknown error"}},
    ),
    "upstream_in_200": ForeignError(
        "200 with a 502 of OpenRouter", 200, {"error": {"message": "Provider returned error", "code": 502}}
    ),
    "status_408": ForeignError("408 of a gateway", 408, {"error": {"message": "Timed out", "code": 408}}),
    "status_424": ForeignError(
        "424 of TGI", 424, {"error": "Request failed during generation", "error_type": "generation"}
    ),
    "status_499": ForeignError(
        "499 of Gemini", 499, [{"error": {"code": 499, "status": "CANCELLED", "message": "cancelled"}}]
    ),
    "status_520": ForeignError(
        "520 page of Cloudflare", 520, "<html><title>520: Web server error</title></html>", "text/html"
    ),
    "error_400": ForeignError(
        "400 with server_error", 400, {"error": {"message": "The server had an error", "code": "server_error"}}
    ),
    "bad_sample": ForeignError(
        "400 tool_use_failed of Groq",
        400,
        {"error": {"message": "Failed to call a function.", "code": "tool_use_failed", "failed_generation": "<f"}},
    ),
}


def write_error(name: str) -> tuple[int, bytes, str]:
    """Return status, body and Content-Type of an error of another provider."""
    error = ERRORS[name]
    body = error.body.encode() if isinstance(error.body, str) else orjson.dumps(error.body)
    return error.status, body, error.content_type


def write_whole(name: str, reply: Body) -> tuple[bytes, str]:
    """Return the bytes of a whole answer in a dialect, and their Content-Type."""
    dialect = DIALECTS[name]
    changed = {**reply, "choices": [_end_choice(dialect, choice) for choice in reply["choices"]]}
    if dialect.usage is not None:
        changed["usage"] = dialect.usage(reply["usage"])
    if dialect.is_other_kind:
        return b"data: " + orjson.dumps(_as_chunk(changed)) + b"\n\n" + _DONE, _EVENTS
    return dialect.before + _encode(dialect, changed) + dialect.after, dialect.content_type or _JSON


def write_packets(name: str, parts: list[Body]) -> tuple[list[bytes], str]:
    """Return the packets of a stream in a dialect, and their Content-Type."""
    dialect = DIALECTS[name]
    events = [dialect.pings + b"data: " + _encode(dialect, part) + b"\n\n" for part in _place_usage(dialect, parts)]
    events[0] = dialect.before + events[0]
    return [*events, dialect.done + dialect.after], dialect.content_type or _EVENTS


def _encode(dialect: ReplyDialect, value: Body) -> bytes:
    written = orjson.dumps(value)
    return written if dialect.change_json is None else dialect.change_json(written)


def _end_choice(dialect: ReplyDialect, choice: Body) -> Body:
    """Return a choice with the dialect's finish reason, if it has ended."""
    if not dialect.finish or not choice.get("finish_reason"):
        return choice
    return {**choice, "finish_reason": dialect.finish} | ({"error": dialect.error} if dialect.error else {})


def _as_chunk(reply: Body) -> Body:
    """Return a whole answer as a single chunk."""
    choices = [{**choice, "delta": choice["message"], "message": None} for choice in reply["choices"]]
    return {**reply, "object": "chat.completion.chunk", "choices": choices}


def _place_usage(dialect: ReplyDialect, parts: list[Body]) -> list[Body]:
    """Return the chunks with usage and finish reason where the dialect has them."""
    changed = [{**part, "choices": [_end_choice(dialect, each) for each in part["choices"]]} for part in parts]
    if changed[-1]["choices"] or not changed[-1].get("usage"):
        return changed
    usage = dialect.usage(changed[-1]["usage"]) if dialect.usage else changed[-1]["usage"]
    if dialect.usage_place == "last":
        changed[-1] = {**changed[-1], "usage": usage}
        return changed
    *chunks, last = changed[:-1]
    match dialect.usage_place:
        case "choice":
            last["choices"] = [{**last["choices"][0], "usage": usage}]
        case "x_groq":
            last["x_groq"] = {"id": last["id"], "usage": usage}
        case _:
            last["usage"] = usage
    return [*chunks, last]
