import contextlib
import random
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import answered, failed, job_of, prompts, worked_off

from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.journal import journal
from arkbatch.journal import rebase as rebase_module
from arkbatch.journal.journal import read_ledger
from arkbatch.journal.run_directory import FAILURES, RESULTS, SUPERSEDED, RunDirectory
from arkbatch.reports.status.status import read_status
from arkbatch.rows.source import reader_of, source_of


def asked(name, text=None):
    return {"custom_id": name, "prompt": text or name}


def begun(folder, *rows, failing=()):
    """A finished run over these rows, of which some failed."""
    job = job_of(prompts(folder, *rows))
    worked_off(job, lambda row: failed(row) if row.custom_id in failing else answered(row))
    return job


def rebased(folder, job, *rows):
    prompts(folder, *rows)
    with OpenRun(job, ResumeOptions(rebase=True), wall=lambda: 0.0) as run:
        return run.found, [row.custom_id for row in run.rows()]


def recorded(job, name=RESULTS):
    lines = (Path(job.run_dir) / name).read_bytes().splitlines()
    return {line["custom_id"]: (line["row"], line["offset"]) for line in map(orjson.loads, lines)}


def test_records_of_unchanged_rows_move_with_them(tmp_path):
    job = begun(tmp_path, asked("a"), asked("b"), asked("c"), failing="c")
    found, left = rebased(tmp_path, job, asked("new"), asked("c"), asked("a"), asked("b", "other"))
    length = len(orjson.dumps(asked("new"))) + 1
    assert (found.done, found.failed, left) == (1, 1, ["new", "b"])
    assert (recorded(job)["a"][0], recorded(job, FAILURES)["c"]) == (3, (2, length))
    assert (
        "2 recorded rows unchanged, 1 changed (the first on line 4), 1 new or not yet run, 0 removed"
        in found.changes[0]
    )


def test_what_no_row_claims_is_set_aside_and_not_destroyed(tmp_path):
    job = begun(tmp_path, asked("a"), asked("b"))
    rebased(tmp_path, job, asked("b"))
    assert set(recorded(job, SUPERSEDED)) == {"a"}
    assert recorded(job) == {"b": (1, 0)}


def test_an_id_that_was_made_from_the_number_follows_it(tmp_path):
    job = begun(tmp_path, {"prompt": "x"}, {"prompt": "y"})
    rebased(tmp_path, job, {"prompt": "y"}, {"prompt": "x"})
    assert {name: row for name, (row, _) in recorded(job).items()} == {"row-1": 1, "row-2": 2}
    lines = [orjson.loads(line) for line in (Path(job.run_dir) / RESULTS).read_bytes().splitlines()]
    assert all(line["id"].endswith(f"_{line['row']}") for line in lines)


def test_equal_rows_share_out_their_records(tmp_path):
    job = begun(tmp_path, asked("a"), asked("a"), asked("a"))
    found, left = rebased(tmp_path, job, asked("b"), asked("a"), asked("a"), asked("a"), asked("a"))
    assert (found.done, left) == (3, ["b", "a"])


@pytest.mark.parametrize("killed_at", range(1, 5))
def test_killed_at_any_step_it_can_be_done_again(tmp_path, monkeypatch, killed_at):
    """Row numbers of the one file are new and those of the other old, when it dies between the two."""
    job = begun(tmp_path, *(asked(name) for name in "abcdef"), failing="bdf")
    steps, replace = [], Path.replace

    def dying(self, target):
        if self.name.endswith((".new", ".rebased")):
            steps.append(self.name)
            if len(steps) == killed_at:
                raise KeyboardInterrupt
        return replace(self, target)

    order = [asked(name) for name in "fedcba"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with contextlib.suppress(KeyboardInterrupt):
            rebased(tmp_path, job, *order)
    found, left = rebased(tmp_path, job, *order)
    assert (found.done, found.failed, left) == (3, 3, [])
    rows = {"f": 1, "e": 2, "d": 3, "c": 4, "b": 5, "a": 6}
    both = recorded(job) | recorded(job, FAILURES)
    assert {name: row for name, (row, _) in both.items()} == rows


def test_who_looks_between_the_two_renames_sees_the_new_order(tmp_path, monkeypatch):
    job = begun(tmp_path, *(asked(name) for name in "abcdef"), failing="bdf")
    looked, replace = [], Path.replace

    def looking(self, target):
        made = replace(self, target)
        if self.name.endswith(".rebased"):
            status = read_status(job.run_dir, lambda: 0.0)
            looked.append((status.done, status.failed, status.failures[0].rows))
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", looking)
        rebased(tmp_path, job, *(asked(name) for name in "fedcba"))
    assert looked == [(3, 3, 3), (3, 3, 3)]


def test_who_looks_while_the_files_are_replaced_looks_again(tmp_path, monkeypatch):
    """The failures are read before, and the results after: a row that failed has succeeded, and nothing says how."""
    job = begun(tmp_path, *(asked(name) for name in "abcdef"), failing="bdf")
    read, begun_again = journal.read_entries, []

    def slow(path, *how):
        if path.name == RESULTS and not begun_again:
            begun_again.append(True)
            rebased(tmp_path, job, *(asked(name) for name in "fedcba"))
        return read(path, *how)

    monkeypatch.setattr(journal, "read_entries", slow)
    (Path(job.run_dir) / "ledger.bin").unlink()
    status = read_status(job.run_dir, lambda: 0.0)
    assert (begun_again, status.done, status.failed) == ([True], 3, 3)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), max_size=9), st.lists(st.sampled_from("abcdefgh"), max_size=9), st.data())
def test_after_any_edit_each_row_is_recorded_or_left(tmp_path_factory, before, after, data):
    folder = tmp_path_factory.mktemp("r")
    failing = data.draw(st.sets(st.sampled_from("abcdefgh")))
    job = begun(folder, *map(asked, before), failing=failing)
    found, left = rebased(folder, job, *map(asked, after))
    done = [*recorded(job), *recorded(job, FAILURES)]
    assert found.done + found.failed + len(left) == len(after)
    assert set(done) <= set(after)
    fresh, _ = read_ledger(RunDirectory(Path(job.run_dir)))
    assert (fresh.done.count, fresh.failed.count) == (found.done, found.failed)


def test_two_thousand_rows_in_another_order(tmp_path):
    names = [f"n{number}" for number in range(2_000)]
    job = begun(tmp_path, *map(asked, names))
    random.Random(1).shuffle(names)
    found, left = rebased(tmp_path, job, *map(asked, names))
    assert (found.done, left) == (2_000, [])
    assert {row: name for name, (row, _) in recorded(job).items()} == dict(enumerate(names, 1))
    source = source_of(job)
    edit = rebase_module.survey_edit(RunDirectory(Path(job.run_dir)), source, reader_of(job, source))
    assert edit.unchanged == 2_000
