"""Files and batches as a provider's replies describe them, read without trust."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.batch_jobs.service import BatchState, RemoteFile, ServiceAway
from arkbatch.protocol.error_body import one_line
from arkbatch.transport.batch_http import HttpReply

_MOST_BAD_LINES = 1000
_SHOWN_BYTES = 120
_LATEST_TIME = 1e11  # a larger number counts milliseconds, or what is finer


def object_in(reply: HttpReply) -> dict[str, Any]:
    """The JSON object of a good reply. ServiceAway: it holds none, or an error alone."""
    parsed = reply.json()
    if not isinstance(parsed, dict):
        raise ServiceAway(f"the reply is {what_is_there(reply.body)} and no JSON object", may_have_arrived=True)
    if parsed.get("error") and not _has_content(parsed):
        said = parsed["error"]
        message = said.get("message") if isinstance(said, dict) else said
        raise ServiceAway(f"the reply is an error: {one_line(str(message or said))}", may_have_arrived=True)
    return parsed


def _has_content(parsed: Mapping[str, Any]) -> bool:
    """Whether a reply with an `error` is a list, or an object that tells its own failure."""
    return "data" in parsed or id_of(parsed) != ""


def what_is_there(body: bytes) -> str:
    """A few words on a body that should have been something else."""
    text = one_line(body[:_SHOWN_BYTES].decode("utf-8", "replace"))
    if not text:
        return "empty"
    return f"a web page ({text})" if text.startswith("<") else f"the text {text}"


def id_of(item: Mapping[str, Any]) -> str:
    """The id of a file or a batch, "" when it has none."""
    names = ("id", "batch_id", "file_id")
    return next((found for name in names if isinstance(found := item.get(name), str) and found), "")


def file_of(item: Mapping[str, Any]) -> RemoteFile:
    """A file as a provider describes it."""
    size = item.get("bytes")
    name = text_of(item.get("filename"))
    return RemoteFile(id_of(item), name, size if type(size) is int else None, seconds_of(item.get("created_at")))


def batch_of(item: dict[str, Any], form: Form) -> BatchState:
    """A batch as this form writes it, possibly in an envelope."""
    batch = item[form.envelope] if form.envelope and isinstance(item.get(form.envelope), dict) else item
    word = batch.get("status")
    errors = _errors_in(batch.get("errors") or batch.get("error"))
    first = errors[0] if errors else {}
    given = batch.get(form.create_keys.get("input_file_id", "input_file_id"))
    return BatchState(
        id=id_of(batch),
        state=form.state_of_word(word, is_completed=bool(seconds_of(batch.get("completed_at")))),
        word=word if isinstance(word, str) else "",
        input_file_id=text_of(given[0] if isinstance(given, list) and given else given),
        output_id=text_of(batch.get(form.output_key)),
        error_id=text_of(batch.get(form.error_key)),
        counts=_counts_in(batch.get("request_counts")),
        created_at=seconds_of(batch.get("created_at")),
        expires_at=seconds_of(batch.get("expires_at")),
        code=text_of(first.get("code")),
        reason=one_line(text_of(first.get("message"))),
        bad_lines={
            line: one_line(text_of(error.get("message")))
            for error in errors[:_MOST_BAD_LINES]
            if type(line := error.get("line")) is int and line > 0
        },
        usage=_usage_in(batch.get("usage")),
        metadata=batch["metadata"] if isinstance(batch.get("metadata"), dict) else {},
    )


def text_of(value: object) -> str:
    """The value when it is a text, else ""."""
    return value if isinstance(value, str) else ""


def table_in(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under this name, empty when there is none."""
    found = item.get(name)
    return found if isinstance(found, dict) else {}


def seconds_of(value: object) -> float:
    """A time as unix seconds, 0 for one that cannot be read or whose zone is not said.

    Some servers count milliseconds or smaller parts, and some write a date.
    """
    if isinstance(value, str) and value:
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            return 0.0
        return read.timestamp() if read.tzinfo is not None else 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        return 0.0
    seconds = float(value)
    while seconds > _LATEST_TIME:
        seconds /= 1000
    return seconds


def _counts_in(value: object) -> dict[str, int]:
    return {name: count for name, count in value.items() if type(count) is int} if isinstance(value, dict) else {}


def _usage_in(value: object) -> dict[str, int]:
    """Input and output tokens. Some servers send the names of both APIs, and zeros under one of them."""
    counts = _counts_in(value)
    given = max(counts.get("input_tokens", 0), counts.get("prompt_tokens", 0))
    answered = max(counts.get("output_tokens", 0), counts.get("completion_tokens", 0))
    return {"input": given, "output": answered} if given or answered else {}


def _errors_in(errors: object) -> list[dict[str, Any]]:
    """The errors of a batch: a list, a list under `data`, one object, or texts instead of objects."""
    found = errors.get("data", [errors]) if isinstance(errors, dict) else errors
    if isinstance(found, str):
        found = [found]
    listed = found if isinstance(found, list) else []
    objects = [{"message": each} if isinstance(each, str) else each for each in listed]
    return [each for each in objects if isinstance(each, dict)]
