"""Whole sessions over batch files against the simulator, in virtual time."""

import pytest
from batch_runs import (
    batch_cost,
    batched,
    billed_usage,
    rows,
    rows_with_records,
    usage_of_results,
)
from msgspec.structs import replace
from runs import job_of, prompts

from arkbatch.core.job import Files


@pytest.fixture
def job(tmp_path):
    return lambda lines, **changes: replace(job_of(prompts(tmp_path, *lines)), lane="files", **changes)


def test_every_row_is_recorded_once_at_the_batch_price(job):
    asked = job(rows(25), files=Files(rows=10))
    ended = batched(asked, batch_seconds=600)
    assert ended.summary.ending == "finished"
    assert rows_with_records(asked) == list(range(1, 26))
    assert usage_of_results(asked) == billed_usage(ended.batches)
    assert ended.summary.cost.amounts["CNY"] == batch_cost(asked, ended.batches)
    assert ended.batches.calls["create"] == 3
