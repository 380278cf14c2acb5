"""The output and error lines of a simulated batch.

Faults of lines are drawn here, by the id of the batch: lines that are missing, doubled, failed, in the wrong file, or
written as only some providers write them.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.simulator import faults, wire
from arkbatch.simulator.endpoints import ENDPOINTS, Asked
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.seeded_random import fingerprint, random_for
from arkbatch.simulator.settings import Settings
from arkbatch.simulator.stored_batch import Batch, BilledLine

_SHARE = 0.1  # of the rows that a fault of lines strikes
_SHARE_MISPLACED = 0.3
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ERRORS = {
    "failed_lines": (500, "server_error", "The server had an error."),
    "refused_lines": (429, "rate_limit_exceeded", "Rate limit reached for requests."),
}


class _AnswerLine(Struct, frozen=True):
    """One line, and whether it stands in the output file."""

    text: bytes
    is_output: bool


class BatchAnswers:
    """Writes the files of batches, and bills their lines."""

    def __init__(self, settings: Settings, billed: list[BilledLine]) -> None:
        self._settings = settings
        self._billed = billed

    def write_files(self, batch: Batch, requests: Path, files: tuple[Path, Path], *, share: float, tries: int) -> None:
        """Answer a share of the rows of a batch, in another order than that of the input.

        files: where the output and the errors go
        tries: how often rows were sent before, as markers such as `[[fault:server_error:1]]` count
        """
        output, errors = files
        with output.open("wb") as good, errors.open("wb") as bad:
            if "crlf" in batch.faults:
                good.write(_BYTE_ORDER_MARK)
            for line in self._all_lines(batch, requests, share, tries):
                (good if line.is_output else bad).write(line.text + (b"\r\n" if "crlf" in batch.faults else b"\n"))
        if "crlf" in batch.faults and output.stat().st_size == len(_BYTE_ORDER_MARK):
            output.write_bytes(b"")
        if "torn_line" in batch.faults and (size := output.stat().st_size) > 100:
            with output.open("r+b") as file:
                file.truncate(size - 1)

    def _all_lines(self, batch: Batch, requests: Path, share: float, tries: int) -> Iterator[_AnswerLine]:
        rows = [line for line in requests.read_bytes().split(b"\n") if line]
        chance = random_for(batch.id.encode())
        order = list(range(len(rows)))
        chance.shuffle(order)
        worked_on = set(order[: int(len(rows) * share)])
        for number in order:
            request = orjson.loads(rows[number])
            if number not in worked_on:
                if batch.status != "failed":
                    yield _AnswerLine(_unsent_line(request["custom_id"], batch.status), is_output=False)
            elif not _is_struck(batch, "missing_lines", chance):
                for time in range(1 + _is_struck(batch, "doubled_lines", chance)):
                    reply = self._reply_to(batch, request, number, tries)
                    yield self._answered_line(batch, request["custom_id"], reply, chance, f"{number}_{time}")

    def _answered_line(
        self, batch: Batch, custom_id: str, reply: tuple[int, dict[str, Any]], chance: Random, place: str
    ) -> _AnswerLine:
        """Return the line of a reply.

        place: the number of the row in its file, and that of the line among those of the row
        """
        status, body = reply
        is_first = place.endswith("_0")
        for fault, (code, kind, message) in _ERRORS.items():
            if _is_struck(batch, fault, chance):
                status, body = code, {"error": {"code": kind, "message": message}}
        if status == 200:
            batch.completed += is_first
            self._bill_line(batch, custom_id, body.get("model", batch.model), body.get("usage") or {})
        else:
            batch.failed += is_first
        is_moved = "misplaced_lines" in batch.faults and chance.random() < _SHARE_MISPLACED
        line = {
            "id": _line_id(custom_id, int(not is_first)),
            "custom_id": custom_id,
            "response": _wrapped_reply(batch, status, f"req_{place}", body),
            "error": None,
        }
        return _AnswerLine(orjson.dumps(line), is_output=status == 200 and not is_moved)

    def _bill_line(self, batch: Batch, custom_id: str, model: str, usage: dict[str, Any]) -> None:
        self._billed.append(BilledLine(custom_id, model, usage))
        for name in ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"):
            if type(usage.get(name)) is int:
                batch.usage[name] = batch.usage.get(name, 0) + usage[name]

    def _reply_to(self, batch: Batch, request: dict[str, Any], number: int, tries: int) -> tuple[int, dict[str, Any]]:
        """Return what the same body gets online, with the faults that its markers ask for."""
        body = {name: value for name, value in request["body"].items() if value is not None}
        endpoint, request_id = ENDPOINTS[batch.endpoint.removeprefix("/v1")], f"{batch.id}-{number}"
        refusal = endpoint.check(body)
        fault: str | None = None
        if refusal is None:
            drawn = faults.asked_for(orjson.dumps(body), tries)
            if isinstance(drawn, Refusal):
                refusal = drawn
            elif drawn is not None:
                refusal, fault = faults.MENU[drawn].refusal, drawn
        if refusal is not None:
            error: dict[str, Any] = orjson.loads(wire.error_body(refusal, batch.model, request_id))
            return refusal.status, error
        asked = Asked(body, fingerprint(body, self._settings.seed), fault)
        return 200, endpoint.answer(asked, self._settings, request_id, int(batch.created_at)).body


def _is_struck(batch: Batch, fault: str, chance: Random) -> bool:
    return fault in batch.faults and chance.random() < _SHARE


def _line_id(custom_id: str, time: int) -> str:
    return f"batch_req_{random_for(custom_id.encode(), time).getrandbits(64):016x}"


def _wrapped_reply(batch: Batch, status: int, request_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the reply as its line has it: some providers write the body as a text, or leave the wrapping out."""
    if "bare_reply" in batch.faults and status == 200:
        return body
    written = orjson.dumps(body).decode() if "text_body" in batch.faults else body
    return {"status_code": status, "request_id": request_id, "body": written}


def _unsent_line(custom_id: str, status: str) -> bytes:
    code = "batch_expired" if status == "expired" else "batch_cancelled"
    error = {"code": code, "message": "This request could not be executed before the batch ended."}
    return orjson.dumps({"id": _line_id(custom_id, 0), "custom_id": custom_id, "response": None, "error": error})
