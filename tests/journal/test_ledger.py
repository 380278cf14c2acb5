from datetime import UTC, datetime

import msgspec
from builders import before, failure, success
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.calls import Kind
from arkbatch.core.input_info import Position
from arkbatch.journal.ledger import Ledger, Marks, fold_lines
from arkbatch.journal.record_format import before_of, decode_entry, decode_retryable, encode, entry_of

MODELS = st.sampled_from(["lite", "pro", ""])
STEP = st.tuples(
    st.integers(1, 12),  # row
    st.sampled_from(["succeeds", "fails", "is interrupted"]),
    MODELS,
    st.integers(0, 50),  # tokens
    st.sampled_from([Kind.TIMEOUT, Kind.BLOCKED]),
    st.booleans(),  # compact the failures afterwards
)


def line_of(outcome):
    return encode(outcome, run_id="r", finished_at=datetime.fromtimestamp(0, UTC), url="/chat/completions")


def state(ledger):
    tallies = [msgspec.to_builtins(tally) for tally in ledger.tallies]
    failures = [(tally.kind, tally.code, tally.rows) for tally in ledger.failures]
    rows = bytes(ledger.done).rstrip(b"\0"), bytes(ledger.failed).rstrip(b"\0"), ledger.interrupted
    return *rows, tallies, failures


class Files:
    """The two files as lists, and what a journal does to them."""

    def __init__(self):
        self.failures, self.results, self.live = [], [], Ledger()

    def record(self, number, how, model, tokens, kind):
        if number in self.live.done:
            return
        past = ()
        if self.live.keeps_failure_of(number):
            past = before_of(
                decode_retryable(next(line for line in reversed(self.failures) if decode_entry(line).row == number))
            )
        make = (
            success(number, input=tokens, model=model, before=past)
            if how == "succeeds"
            else failure(
                number,
                kind=kind,
                model=model,
                usage={"input": tokens},
                before=past,
                interrupted=how == "is interrupted" and number not in self.live.failed,
            )
        )
        (self.results if how == "succeeds" else self.failures).append(line_of(make))
        self.live.fold(entry_of(make))

    def compact(self):
        last = {decode_entry(line).row: line for line in self.failures}
        self.failures = [line for row, line in last.items() if self.live.keeps_failure_of(row)]

    def read_back(self):
        ledger = Ledger()
        fold_lines(ledger, map(decode_entry, self.failures), map(decode_entry, self.results))
        return ledger


@given(st.lists(STEP, max_size=40))
def test_the_files_add_up_to_the_live_state_whatever_was_retried_and_compacted(steps):
    files = Files()
    for *step, compact in steps:
        files.record(*step)
        if compact:
            files.compact()
    assert state(files.read_back()) == state(files.live)


@given(st.lists(STEP, max_size=30), st.integers(0, 30))
def test_a_saved_ledger_and_the_tail_of_the_files_give_the_same(steps, cut):
    files = Files()
    for step in steps[:cut]:
        files.record(*step[:-1])
    saved = files.live.to_bytes(Marks(len(files.results), len(files.failures)))
    for step in steps[cut:]:
        files.record(*step[:-1])
    ledger, marks = Ledger.from_bytes(saved)
    fold_lines(
        ledger,
        map(decode_entry, files.failures[marks.failures_end :]),
        map(decode_entry, files.results[marks.results_end :]),
    )
    assert state(ledger) == state(files.live)


def test_a_success_after_a_failure_moves_the_row_and_keeps_the_tokens():
    ledger = Ledger()
    ledger.fold(entry_of(failure(1, kind=Kind.BLOCKED, model="pro", usage={"output": 7})))
    ledger.fold(
        entry_of(
            success(
                1, input=10, output=5, model="lite", before=(before(Kind.BLOCKED, model="pro", usage={"output": 7}),)
            )
        )
    )
    assert (ledger.done.count, ledger.failed.count, ledger.failures) == (1, 0, [])
    lite, pro = ledger.tallies[0], ledger.tallies[1]
    assert (lite.model, lite.succeeded, lite.usage) == ("lite", 1, {"input": 10, "output": 5})
    assert (pro.model, pro.failed, pro.usage["output"], pro.discarded["output"]) == ("pro", 0, 7, 7)


def test_torn_bytes_are_no_ledger():
    data = Ledger().to_bytes(Marks(1, 2, Position(3, 4)))
    assert Ledger.from_bytes(data)[1] == Marks(1, 2, Position(3, 4))
    assert all(Ledger.from_bytes(data[:cut]) is None for cut in range(len(data)))
    assert Ledger.from_bytes(data[:-1] + bytes([data[-1] ^ 1])) is None
