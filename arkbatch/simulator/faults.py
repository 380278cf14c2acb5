"""The menu of faults, and which call gets which.

Here is the name of a fault, and the refusal if it is one. `delivery` and `streaming` apply it to the connection,
`answers` to an answer.

A fault comes by rate (`Settings.faults`) or by request: a marker such as `[[fault:content_filter]]` anywhere in the
body strikes every attempt, `[[fault:server_error:2]]` the first two. Of several markers the first one that still
applies is used, so `[[fault:rate_rpm:1]][[fault:stall:2]]` refuses, then stalls, then answers.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from arkbatch.simulator import refusals
from arkbatch.simulator.dialects import DIALECTS, ERRORS
from arkbatch.simulator.refusals import Refusal, invalid_parameter


class Fault(Struct, frozen=True):
    """One line of the menu.

    refusal: the error, with `retry_after` seconds if it says so; inside: an error in a reply with status 200
    Without either, the fault concerns the connection or the content of an answer.
    """

    about: str
    refusal: Refusal | None = None
    retry_after: int | None = None
    inside: Refusal | None = None


MENU: Mapping[str, Fault] = {
    "server_error": Fault("500 with a JSON error", refusals.INTERNAL),
    "bad_gateway": Fault("502 with an HTML page, as a proxy in between gives it"),
    "rate_rpm": Fault("429, requests a minute exceeded", refusals.MODEL_RPM),
    "rate_tpm": Fault("429, tokens a minute exceeded", refusals.MODEL_TPM),
    "overloaded": Fault("429, the service is busy", refusals.OVERLOADED),
    "overloaded_wait": Fault("429, the service is busy and says Retry-After: 5", refusals.OVERLOADED, 5),
    "burst": Fault("429, the traffic grew too fast", refusals.BURST),
    "inflight": Fault("429, too many calls at a time", refusals.INFLIGHT),
    "drop_before": Fault("the connection closes before the first byte of the reply"),
    "drop_inside": Fault("the connection closes in the middle of the body"),
    "slow": Fault("an answer that takes a hundred times as long as the latency says"),
    "stall": Fault("no reply, ever"),
    "stall_inside": Fault("half a reply, then nothing more, ever"),
    "garbled": Fault("200 with the first third of a JSON body; a stream with half an event"),
    "error_in_200": Fault("200 whose body, or an event in whose stream, is a server error", inside=refusals.INTERNAL),
    "overloaded_in_200": Fault("the same with the error of a busy service", inside=refusals.OVERLOADED),
    "sensitive_in_200": Fault("the same, the answer was stopped by moderation", inside=refusals.SENSITIVE_ANSWER),
    "no_choices": Fault("200 without choices (embeddings: without data)"),
    "truncated": Fault("a stream that ends well before the answer does"),
    "no_done": Fault("a stream without [DONE] at its end"),
    "split": Fault("a stream whose packets end inside characters"),
    "untidy": Fault("a stream with comments, CRLF and no space after data:"),
    "empty": Fault("an answer without content (chat)"),
    "content_filter": Fault("an answer cut by moderation, finish_reason content_filter (chat)"),
    "length": Fault("an answer cut short, finish_reason length (chat)"),
    "off_schema": Fault("JSON of another shape than the schema that was asked for (chat)"),
    "bad_arguments": Fault("tool calls whose arguments are no JSON (chat with tools)"),
    "unknown_tool": Fault("calls of a tool that was not declared (chat with tools)"),
    "tool_loop": Fault("tools are called again and again, whatever they return (chat with tools)"),
    "reply_in_clear": Fault("a sealed call answered in clear"),
    "wrong_seal": Fault("a sealed call answered under another key"),
    "refuse": Fault("400, a parameter is not valid", refusals.INVALID),
    "sensitive": Fault("400, the prompt is refused by moderation", refusals.SENSITIVE),
    "unauthorized": Fault("401, the key is not valid (any more)", refusals.NO_KEY),
    "overdue": Fault("403, the account has an overdue balance", refusals.OVERDUE),
    "not_open": Fault("404, the account has not activated the model", refusals.MODEL_NOT_OPEN),
    "free_quota": Fault("429, the free trial quota is used up", refusals.FREE_QUOTA),
    "set_limit": Fault("429, the user's own spending limit is reached", refusals.SET_LIMIT),
    **{name: Fault(f"{dialect.about} (chat)") for name, dialect in DIALECTS.items()},
    **{name: Fault(error.about) for name, error in ERRORS.items()},
}

BATCH_MENU: Mapping[str, str] = {
    "lost_upload": "the connection ends after a file was accepted",
    "lost_create": "the connection ends after a batch was accepted",
    "poll_502": "502 to a look at a batch or a list",
    "torn_content": "the connection ends in the middle of a file",
    "late_file": "400, a file cannot be found for 5 seconds after it was uploaded",
    "slow_list": "a batch stands in no list for its first 90 seconds",
    "hang": "a batch that stays in_progress until it is cancelled",
    "no_output": "completed without any file, and nothing was done",
    "missing_lines": "rows without a line in either file",
    "doubled_lines": "rows with two lines, both billed",
    "misplaced_lines": "good lines in the error file",
    "failed_lines": "rows with an error 500",
    "expired": "half of the rows are done when the window ends",
    "bad_line": "failed, since a tenth of the lines are not what they should be",
    "token_limit": "failed once, since too many tokens wait",
    "strange_state": "a state that no document names, for a while",
    "torn_line": "an output file whose last line has no newline",
    "cut_content": "a third of a file is missing, and nothing says so",
    "late_batch": "404 and no place in the list for the first 90 seconds of a batch",
    "oldest_first": "lists of batches begin with the oldest",
    "stuck_cancel": "a cancelled batch never ends",
    "lost_output": "completed, and its output file is gone",
    "no_reason": "failed, without a word why",
    "wrong_usage": "the usage of a batch is not the sum of its lines",
    "wrong_counts": "the counts of a batch are three times too high",
    "early_expiry": "the time at which a batch expires lies three days in the past",
    "failed_partly": "failed, with the answers of half of the rows",
    "refused_lines": "rows with an error 429",
    "late_output": "404 to the files of answers for 150 seconds",
    "web_page": "200 with a web page in the place of a file",
    "crlf": "files with a byte order mark and with the line ends of Windows",
    "text_body": "lines whose body is a text that holds JSON",
    "bare_reply": "lines whose response is the reply itself, without status and body",
    "cut_list": "a list of batches that repeats its first entry, and says that it goes on",
}

# Faults that replace an answer, streamed or not.
BEFORE_ANSWERS = frozenset({"stall", "drop_before", "bad_gateway", *ERRORS})

_MARKER = re.compile(rb"\[\[fault:([a-z0-9_]+)(?::(\d{1,6}))?\]\]")


def asked_for(raw: bytes, attempt: int) -> str | Refusal | None:
    """Return the fault that a marker asks for at this attempt, from 1."""
    if b"[[fault:" not in raw:
        return None
    for name, times in _MARKER.findall(raw):
        if name.decode() not in MENU:
            return invalid_parameter("messages", f"there is no fault named {name.decode()}")
        if not times or attempt <= int(times):
            return str(name.decode())
    return None


def draw_fault(rates: Mapping[str, float], luck: float) -> str | None:
    """Return the fault at a number between 0 and 1; each name covers its rate."""
    for name, rate in rates.items():
        if luck < rate:
            return name
        luck -= rate
    return None
