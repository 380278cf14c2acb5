"""Packs many rows of embeddings into one call, and splits its outcome.

A `Pack` is a row that stands for several: its request holds the inputs of all of them, in order, so that the rest of
the program need not know of it. Rows go together while they follow one another in the input and differ in their texts
alone; so memory stays that of one pack. `split_outcome` makes the outcomes of its rows out of a pack's: each gets its
own vectors, byte for byte, with the `index` that they would have had alone, and a share of the tokens by the length of
its texts. The shares add up exactly.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct

from arkbatch.core.calls import Reply
from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.outcomes import Attempt, Failure, Outcome, Success
from arkbatch.core.row import BadRow, Row
from arkbatch.core.usage import Usage
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.endpoints.embeddings import MOST_INPUTS, inputs_of
from arkbatch.protocol.vectors import indexes_of

PACKED = ("embeddings", "batch_embeddings")
# Ark advises at most 4 inputs, or 4,096 tokens, a call; others take hundreds at the same speed.
ADVISED_AT_ARK, ADVISED = 4, 64
TOKENS_AT_ARK, TOKENS = 4_096, 32_768  # a call
_NARROW_IN_A_TOKEN, _WIDE_IN_A_TOKEN = 3.0, 1.0  # characters; rather too many tokens than too few


class Pack(Row, frozen=True, gc=False):
    """Rows that are sent in one call."""

    rows: tuple[Row, ...] = ()

    @property
    def members(self) -> tuple[Row, ...]:
        return self.rows


class Packing(Struct, frozen=True):
    """How much may go in one call; a larger row goes alone."""

    inputs: int
    tokens: int


def packing_of(pack: int | str, *, at_ark: bool) -> Packing | None:
    """Return the limits that a job's `pack` sets, at most Ark's; None when each row goes alone."""
    if pack == 1:
        return None
    tokens = TOKENS_AT_ARK if at_ark else TOKENS
    if isinstance(pack, int):
        return Packing(min(pack, MOST_INPUTS) if at_ark else pack, max(tokens, pack * TOKENS_AT_ARK))
    return Packing(ADVISED_AT_ARK if at_ark else ADVISED, tokens)


class Packer:
    """Takes rows one after the other, and returns them in packs.

    A row that did not fit into a pack is kept for the next one: it was read and is not in work.
    """

    def __init__(self, rows: Iterator[Row | BadRow], most: Packing) -> None:
        self._rows = rows
        self._most = most
        self._kept: deque[Row | BadRow] = deque()

    def __iter__(self) -> Iterator[Row | BadRow]:
        return self

    def __next__(self) -> Row | BadRow:
        first = self._kept.popleft() if self._kept else next(self._rows)
        if isinstance(first, BadRow) or not _may_be_packed(first):
            return first
        asked, texts, tokens = _request_without_texts(first), len(_texts_of(first)), _estimated_tokens(first)
        together = [first]
        while texts < self._most.inputs and (row := next(self._rows, None)) is not None:
            self._kept.append(row)
            if isinstance(row, BadRow) or row.endpoint != first.endpoint or not _may_be_packed(row):
                break
            if _request_without_texts(row) != asked:
                break
            texts, tokens = texts + len(_texts_of(row)), tokens + _estimated_tokens(row)
            if texts > self._most.inputs or tokens > self._most.tokens:
                break
            together.append(row)
            self._kept.pop()
        return pack_rows(together)


def _may_be_packed(row: Row) -> bool:
    """Whether a row may share its call; a row with a request id of its own goes alone."""
    return row.endpoint in PACKED and not row.request_id


def pack_rows(rows: Sequence[Row]) -> Row:
    """Return one row for these rows, which differ in their texts alone; a single row stays itself."""
    first = rows[0]
    if len(rows) == 1:
        return first
    body = {**first.body, "input": [text for row in rows for text in _texts_of(row)]}
    return Pack(first.number, first.offset, first.digest, first.custom_id, first.endpoint, body, rows=tuple(rows))


def halve_pack(whole: Row) -> tuple[Row, Row]:
    """Return two smaller packs, to find the row for which this one was refused."""
    middle = len(whole.members) // 2
    return pack_rows(whole.members[:middle]), pack_rows(whole.members[middle:])


def split_outcome(outcome: Outcome) -> Sequence[Outcome]:
    """Return the outcome of each row of a pack; that of a single row stays as it is."""
    if not isinstance(outcome.row, Pack):
        return (outcome,)
    return split_failure(outcome) if isinstance(outcome, Failure) else _split_success(outcome)


def split_failure(failure: Failure) -> list[Failure]:
    """Return the failure of each row of a pack, with its share of the tokens."""
    whole = failure.row
    if not isinstance(whole, Pack):
        return [failure]
    weights = [_weight_of(row) for row in whole.rows]
    parts = zip(whole.rows, share_usage(failure.usage, weights), _calls_apart(failure.calls, weights), strict=True)
    return [msgspec.structs.replace(failure, row=row, usage=usage, calls=calls) for row, usage, calls in parts]


def _split_success(success: Success) -> list[Success]:
    whole = success.row
    assert isinstance(whole, Pack)
    weights = [_weight_of(row) for row in whole.rows]
    usages, discarded = share_usage(success.usage, weights), share_usage(success.discarded, weights)
    replies = _replies_of_rows(success, whole.rows, usages, discarded)
    parts = zip(whole.rows, replies, usages, discarded, _calls_apart(success.calls, weights), strict=True)
    return [
        msgspec.structs.replace(success, row=row, reply=reply, usage=usage, discarded=lost, calls=calls)
        for row, reply, usage, lost, calls in parts
    ]


def share_usage(usage: Usage, weights: Sequence[int]) -> list[dict[str, int]]:
    """Return each one's part of the counts, by weight; the parts add up exactly."""
    until = list(accumulate(weights, initial=0))
    return [
        {meter: count * end // until[-1] - count * begin // until[-1] for meter, count in usage.items()}
        for begin, end in pairwise(until)
    ]


def _calls_apart(calls: Sequence[Attempt], weights: Sequence[int]) -> list[list[Attempt]]:
    """Return the same calls for each row, with its part of their discarded usage."""
    if not any(call.tokens for call in calls):
        return [list(calls) for _ in weights]
    parts = [share_usage(call.tokens, weights) for call in calls]
    return [
        [msgspec.structs.replace(call, tokens=part[place]) for call, part in zip(calls, parts, strict=True)]
        for place in range(len(weights))
    ]


class _Item(Struct):
    index: int | None = None


def _replies_of_rows(
    success: Success, rows: Sequence[Row], usages: Sequence[Usage], discarded: Sequence[Usage]
) -> Iterator[Reply]:
    reply = success.reply
    parsed: dict[str, Raw] = msgspec.json.decode(reply.body, type=dict[str, Raw])
    items = msgspec.json.decode(parsed["data"], type=list[Raw])
    indexes = indexes_of([{"index": msgspec.json.decode(item, type=_Item).index} for item in items])
    assert indexes is not None  # the reply was judged to answer every input
    by_index = dict(zip(indexes, items, strict=True))
    place = 0
    for row, usage, lost in zip(rows, usages, discarded, strict=True):
        own = range(place, place := place + len(_texts_of(row)))
        data = [_renumber_item(by_index[index], number) for number, index in enumerate(own)]
        body: dict[str, Any] = {**parsed, "data": data}
        if "input" in usage:
            tokens = usage["input"] - lost.get("input", 0)
            body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        yield msgspec.structs.replace(reply, body=msgspec.json.encode(body))


def _renumber_item(item: Raw, number: int) -> dict[str, Any]:
    return {**msgspec.json.decode(item, type=dict[str, Raw]), "index": number}


def _request_without_texts(row: Row) -> bytes:
    """Return everything that a row asks for but its texts."""
    return dumps_as_written(
        {name: value for name, value in row.body.items() if name != "input"}, option=orjson.OPT_SORT_KEYS
    )


def _texts_of(row: Row) -> list[Any]:
    return inputs_of(row.body["input"])


def _weight_of(row: Row) -> int:
    """Return a row's share of the tokens: its texts in bytes, at least 1."""
    return max(1, sum(len(text.encode("utf-8", "replace")) if isinstance(text, str) else 4 for text in _texts_of(row)))


def _estimated_tokens(row: Row) -> float:
    size = ENDPOINTS[row.endpoint].size(row.body)
    return size.narrow / _NARROW_IN_A_TOKEN + size.wide / _WIDE_IN_A_TOKEN
