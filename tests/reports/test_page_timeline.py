"""The timeline reads every line once, keeps sums, and goes on where it stopped."""

from datetime import UTC, datetime

import orjson
import pytest
from builders import before
from msgspec.structs import replace
from runs import BEGAN, answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.core.calls import Kind
from arkbatch.core.errors import RunDamaged
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.outcomes import Attempt
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.reports.page.series import series_of
from arkbatch.reports.page.timeline import Follower


@pytest.fixture
def job(tmp_path):
    return job_of(prompts(tmp_path, *numbered(6)))


def followed(directory):
    follower = Follower(RunDirectory(directory))
    follower.read_on()
    return follower.timeline


def calls_of(timeline):
    return sum(each.bucket.calls for each in timeline.buckets.stretches())


def tried(*verdicts, seconds=1.0):
    return [Attempt(f"c-{n}", verdict, seconds) for n, verdict in enumerate(verdicts)]


def test_rows_calls_and_tokens_are_counted(job):
    timeline = followed(worked_off(job, answered))
    stretches = list(timeline.buckets.stretches())
    assert sum(each.bucket.done for each in stretches) == calls_of(timeline) == 6
    assert sum(each.bucket.tokens for each in stretches) == 6 * 15
    assert timeline.latency.count == 6


def test_calls_in_vain_are_counted_by_kind(job):
    calls = tried("overloaded", "timeout", "done")
    timeline = followed(worked_off(job, lambda row: answered(row, calls=calls, attempts=3)))
    assert timeline.retried == {"overloaded": 6, "timeout": 6}
    assert calls_of(timeline) == 18


def begun(timeline):
    return sorted(each.begin for each in timeline.buckets.stretches() if each.bucket.calls)


def test_calls_are_drawn_where_they_were_sent(job):
    """The row waited a minute between its two calls."""
    calls = [Attempt("c-1", "overloaded", 1.0), Attempt("c-2", "done", 1.0, after=61.0)]
    timeline = followed(worked_off(job, lambda row: answered(row, calls=calls, attempts=2)))
    first, *_, last = begun(timeline)
    assert last - first >= 60
    assert sum(each.bucket.calls for each in timeline.buckets.stretches()) == 12


def test_calls_of_a_line_without_their_beginnings_lie_back_to_back(job):
    timeline = followed(worked_off(job, lambda row: answered(row, calls=tried("overloaded", "done"), attempts=2)))
    assert max(begun(timeline)) - min(begun(timeline)) <= 10


def test_calls_that_a_line_does_not_list_are_counted_as_others(job):
    timeline = followed(worked_off(job, lambda row: answered(row, calls=tried("done"), attempts=5)))
    assert timeline.retried == {"others": 24}


def test_what_a_retried_row_spent_earlier_is_not_counted_again(job):
    earlier = before(usage={"input": 4, "output": 0}, attempts=2)

    def again(row):
        return answered(replace(row, before=(earlier,)))

    timeline = followed(worked_off(job, again))
    assert sum(each.bucket.tokens for each in timeline.buckets.stretches()) == 6 * 15
    assert timeline.retried == {}


def test_failures_are_kept_with_the_beginning_of_their_prompt(job):
    timeline = followed(worked_off(job, lambda row: failed(row, Kind.BLOCKED, "Sensitive", "no <b>")))
    last = timeline.last_failures[-1]
    assert (last.row, last.custom_id, last.kind, last.code, last.message) == (
        6,
        "task-6",
        "blocked",
        "Sensitive",
        "no <b>",
    )
    assert last.prompt == "question 6"


def test_a_line_that_was_never_sent_has_no_prompt(tmp_path):
    timeline = followed(worked_off(job_of(prompts(tmp_path, b"{oops\n", {"prompt": "a"})), answered))
    assert [each.prompt for each in timeline.last_failures] == [""]


def test_time_to_the_first_token_is_read_when_lines_carry_it(job):
    directory = worked_off(job, answered)
    path = directory / RESULTS
    lines = [orjson.loads(line) | {"first_token_seconds": 0.25} for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert followed(directory).first_token.quantile(0.5) == pytest.approx(0.25, rel=0.05)


def test_a_follower_reads_only_what_is_new(job):
    directory = worked_off(job, lambda row: answered(row) if row.number < 4 else None, ending="stopped")
    follower = Follower(RunDirectory(directory))
    assert follower.read_on()
    worked_off(job, answered)
    assert follower.read_on()
    assert calls_of(follower.timeline) == 6


def test_a_follower_reads_in_slices(job):
    follower = Follower(RunDirectory(worked_off(job, answered)))
    steps = 1
    while not follower.read_on(100):
        steps += 1
    assert steps >= 6
    assert calls_of(follower.timeline) == 6


def test_a_follower_starts_over_when_a_file_was_replaced(job):
    """The failures are rewritten when their rows have succeeded."""
    directory = worked_off(job, lambda row: failed(row) if row.number < 4 else answered(row))
    follower = Follower(RunDirectory(directory))
    follower.read_on()
    fresh = directory / "fresh"
    fresh.write_bytes((directory / FAILURES).read_bytes().splitlines(keepends=True)[0])
    fresh.replace(directory / FAILURES)
    assert follower.read_on()
    assert sum(each.bucket.failed for each in follower.timeline.buckets.stretches()) == 1
    assert sum(each.bucket.done for each in follower.timeline.buckets.stretches()) == 3


def test_a_foreign_line_is_named(job):
    directory = worked_off(job, answered)
    with (directory / RESULTS).open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(RunDamaged, match=r"results\.jsonl holds a line"):
        followed(directory)


def test_columns_run_in_parallel_and_carry_the_limits(job):
    directory = worked_off(job, lambda row: answered(row, calls=tried("overloaded", "done"), attempts=2))
    info = RunDirectory(directory).read_info()
    series = series_of(followed(directory), info.sessions)
    columns = [series.rows, series.requests, series.tokens, series.in_flight, series.requests_limit]
    assert {len(column) for column in [*columns, *series.retries.values()]} == {len(series.at)}
    assert set(series.requests_limit[3:]) == {600.0}
    assert set(series.tokens_limit) == {None}
    assert series.at[0] >= BEGAN - 10


def test_while_a_session_runs_the_open_end_is_left_out(job):
    """Calls in flight have no record yet; a line that falls to the ground would say that nothing happens."""
    directory = worked_off(job, answered)
    timeline = followed(directory)
    series = series_of(timeline, RunDirectory(directory).read_info().sessions, timeline.buckets.last)
    assert series.requests[-1] is None
    assert series.in_flight[-1] is None
    assert series.requests[0] is not None


def test_kinds_beyond_the_fifth_are_put_together(job):
    kinds = ["overloaded", "timeout", "connection", "rate_limited", "server_error", "empty", "bad_reply"]
    timeline = followed(
        worked_off(
            job, lambda row: answered(row, calls=tried(*kinds[: row.number + 1], "done"), attempts=row.number + 2)
        )
    )
    series = series_of(timeline, [])
    assert list(series.retries)[-1] == "others"
    assert len(series.retries) == 6
    assert sum(series.retried.values()) == sum(range(2, 8))


def test_limits_that_were_set_while_a_session_worked_count_from_then_on(job):
    directory = worked_off(job, answered)
    sessions = RunDirectory(directory).read_info().sessions
    timeline = followed(directory)
    moments = series_of(timeline, sessions).at
    middle = moments[len(moments) // 2]
    at = datetime.fromtimestamp(middle, UTC).isoformat(timespec="seconds")
    sessions[0].steered = [LimitChange(at, "set", "rpm 600 -> 1200", limits={"rpm": 1200.0})]
    limits = series_of(timeline, sessions).requests_limit
    assert (limits[-1], 600.0 in limits, limits == sorted(limits, key=lambda rpm: rpm or 0)) == (1200.0, True, True)
