import itertools
import resource
import signal
from datetime import UTC, datetime

import orjson
import pytest
from builders import before, failure, success
from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.core.errors import RunDamaged, RunLocked, StorageFull
from arkbatch.core.input_info import Position
from arkbatch.journal.journal import Journal, read_ledger
from arkbatch.journal.record_format import before_of, decode_entry, decode_retryable, encode
from arkbatch.journal.record_reader import read_entries
from arkbatch.journal.run_directory import FAILURES, LEDGER, RESULTS, USAGE, RunDirectory


def open_journal(path):
    path.mkdir(exist_ok=True)
    return Journal(RunDirectory(path), "r", wall=lambda: 1_700_000_000.0, url_of=lambda name: f"/{name}")


def rows_of(path):
    return [orjson.loads(line)["row"] for line in path.read_bytes().splitlines()]


def test_what_was_recorded_is_there_on_reopening_without_a_close(tmp_path):
    journal = open_journal(tmp_path)
    journal.record(success(1))
    journal.record(failure(2))
    journal.close_files()
    ledger = open_journal(tmp_path).ledger
    assert (1 in ledger.done, 2 in ledger.failed) == (True, True)


def test_a_journal_cut_at_every_byte_of_its_last_record_loses_just_that_record(tmp_path):
    journal = open_journal(tmp_path / "whole")
    journal.record(success(1))
    journal.record(success(2))
    journal.close()
    whole = (tmp_path / "whole" / RESULTS).read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) + 1):
        path = tmp_path / str(cut)
        path.mkdir()
        (path / RESULTS).write_bytes(whole[:cut])
        ledger = open_journal(path).ledger
        assert 1 in ledger.done
        assert (2 in ledger.done) == (cut == len(whole))
        assert (path / RESULTS).read_bytes() == (whole if cut == len(whole) else whole[:first])


def test_without_the_cache_the_same_state_comes_back(tmp_path):
    journal = open_journal(tmp_path)
    for number in range(1, 9):
        journal.record(success(number) if number % 3 else failure(number))
    journal.take_snapshot(Position(4, 400))()
    journal.record(success(9))
    journal.close()
    cached = open_journal(tmp_path).ledger
    (tmp_path / LEDGER).unlink()
    rebuilt = open_journal(tmp_path).ledger
    assert (cached.done, cached.failed, cached.tallies) == (rebuilt.done, rebuilt.failed, rebuilt.tallies)


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 300])
def test_a_damaged_cache_is_ignored(tmp_path, damage):
    journal = open_journal(tmp_path)
    journal.record(success(1))
    journal.close()
    (tmp_path / LEDGER).write_bytes(damage)
    assert 1 in open_journal(tmp_path).ledger.done


def test_a_cache_that_stands_for_more_than_the_files_hold_is_ignored(tmp_path):
    journal = open_journal(tmp_path)
    journal.record(success(1))
    journal.record(success(2))
    journal.close()
    lines = (tmp_path / RESULTS).read_bytes().splitlines(keepends=True)
    (tmp_path / RESULTS).write_bytes(lines[0])
    assert open_journal(tmp_path).ledger.done.count == 1


def test_a_success_takes_its_row_out_of_the_failures_file(tmp_path):
    journal = open_journal(tmp_path)
    for number in (1, 2, 3):
        journal.record(failure(number))
    journal.record(success(2, before=(before(),)))
    journal.close()
    assert rows_of(tmp_path / FAILURES) == [1, 3]
    assert rows_of(tmp_path / RESULTS) == [2]


def test_a_row_that_fails_again_and_again_has_one_line(tmp_path):
    for _ in range(4):
        journal = open_journal(tmp_path)
        lines = (tmp_path / FAILURES).read_bytes().splitlines()
        past = before_of(decode_retryable(lines[0])) if lines else ()
        journal.record(failure(1, before=past))
        journal.close_files()
    journal = open_journal(tmp_path)
    assert rows_of(tmp_path / FAILURES) == [1]
    assert journal.ledger.tallies[0].attempts == 8


def test_a_killed_retry_is_tidied_up_on_reopening(tmp_path):
    journal = open_journal(tmp_path)
    journal.record(failure(1))
    journal.record(success(1, before=(before(),)))
    journal.close_files()
    assert rows_of(tmp_path / FAILURES) == [1]
    open_journal(tmp_path)
    assert rows_of(tmp_path / FAILURES) == []


def test_usage_is_what_the_two_files_add_up_to(tmp_path):
    journal = open_journal(tmp_path)
    journal.record(success(1, input=10, output=5))
    journal.record(failure(2, usage={"input": 3}))
    journal.close()
    report = orjson.loads((tmp_path / USAGE).read_bytes())
    assert report["usage"] == {"input": 13, "output": 5}
    assert report["discarded"] == {"input": 3}
    assert report["stands_for"]["results.jsonl"] == (tmp_path / RESULTS).stat().st_size


def test_a_line_that_we_did_not_write_is_refused_with_its_place(tmp_path):
    (tmp_path / RESULTS).write_bytes(b'{"hello": 1}\n')
    with pytest.raises(RunDamaged, match="byte 0"):
        open_journal(tmp_path)


def test_a_full_disk_stops_the_write_and_leaves_the_file_whole(tmp_path):
    journal = open_journal(tmp_path)
    journal.record(success(1))
    size = (tmp_path / RESULTS).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        with pytest.raises(StorageFull, match="make space and run the same command again"):
            journal.record(success(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.close_files()
    assert (tmp_path / RESULTS).stat().st_size == size
    assert open_journal(tmp_path).ledger.done.count == 1


def test_python_is_told_of_a_full_disk_by_an_error_and_not_by_a_signal():
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN


def test_a_second_writer_is_told_who_holds_the_run(tmp_path):
    directory = RunDirectory(tmp_path)
    told = pytest.raises(RunLocked, match=r"process \d+ on .* since 1970")
    with directory.hold_lock(lambda: 0.0), told, RunDirectory(tmp_path).hold_lock(lambda: 0.0):
        pass


def test_reading_the_state_changes_nothing_while_another_writes(tmp_path):
    journal = open_journal(tmp_path)
    journal.record(success(1))
    with (tmp_path / RESULTS).open("ab") as file:
        file.write(b'{"torn')
    before_bytes = (tmp_path / RESULTS).read_bytes()
    ledger, _ = read_ledger(RunDirectory(tmp_path))
    assert ledger.done.count == 1
    assert (tmp_path / RESULTS).read_bytes() == before_bytes


@settings(max_examples=40, deadline=None)
@given(outcomes=st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=14), crashes=st.sets(st.integers(0, 13)))
def test_every_row_has_one_record_whatever_crashes_between(tmp_path_factory, outcomes, crashes):
    path = tmp_path_factory.mktemp("run")
    journal = open_journal(path)
    for step, (number, good) in zip(itertools.count(), outcomes):
        if number in journal.ledger.done:
            continue
        past = ()
        if number in journal.ledger.failed:
            last = [
                line for line in (path / FAILURES).read_bytes().splitlines() if orjson.loads(line)["row"] == number
            ][-1]
            past = before_of(decode_retryable(last))
        journal.record(success(number, before=past) if good else failure(number, before=past))
        if step in crashes:
            journal.close_files()
            journal = open_journal(path)
    live = journal.ledger
    journal.close()
    recorded = rows_of(path / RESULTS) + rows_of(path / FAILURES)
    assert sorted(recorded) == sorted({number for number, _ in outcomes})
    again = open_journal(path).ledger
    assert (again.done, again.failed, again.tallies) == (live.done, live.failed, live.tallies)


def test_what_was_written_before_the_disk_was_full_counts_and_is_not_recorded_twice(tmp_path):
    """A snapshot may be taken before the session has ended: it must not stand for lines that it does not count."""
    journal = open_journal(tmp_path)
    journal.record(*(success(number) for number in range(1, 4)))
    size = (tmp_path / RESULTS).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 2000, hard))
    try:
        with pytest.raises(StorageFull):
            journal.record(success(4), failure(5, usage={"x" * 9000: 1}))
        journal.take_snapshot(Position(3, 300))()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.close_files()
    ledger = open_journal(tmp_path).ledger
    assert rows_of(tmp_path / RESULTS) == [1, 2, 3, 4]
    assert (4 in ledger, 5 in ledger) == (True, False)


def test_a_row_number_that_no_input_has_is_damage_and_takes_no_memory(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"row": 100000000000000, "endpoint": "chat", "attempts": 1, "usage": {}}\n')
    with pytest.raises(RunDamaged, match="that arkbatch did not write"):
        list(read_entries(path, 0, decode_entry))


def test_a_failure_line_that_stands_twice_is_counted_once(tmp_path):
    when = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [encode(failure(number), run_id="r", finished_at=when, url="u") for number in (1, 2)]
    (tmp_path / FAILURES).write_bytes(lines[0] + lines[1] + lines[0])
    ledger, _ = read_ledger(RunDirectory(tmp_path))
    assert (ledger.failed.count, ledger.replaced) == (2, 1)
    assert sum(tally.failed for tally in ledger.tallies) == 2
