"""`arkbatch shard` and `arkbatch merge`: a run on several workers from the command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from runs import job_of, numbered, prompts
from sessions import lines_of

from arkbatch import run
from arkbatch.cli import arkbatch
from arkbatch.core.errors import RunLocked
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import RESULTS
from arkbatch.journal.shard_files import ShardDirectory

ROOT = Path(__file__).parent.parent.parent
MODEL = ["--model", "doubao-seed-1-6-251015", "--simulate"]


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.api.jobs.SIMULATED_LATENCY", 0.0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    prompts(tmp_path, *numbered(60))


def call(*words, code=0):
    result = CliRunner().invoke(arkbatch, list(words), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == code, result.output
    return result


def answered(name="a.run"):
    return [line["custom_id"] for line in lines_of(Path(name), RESULTS)]


def test_workers_without_a_coordinator_divide_the_shards(tmp_path):
    planned = call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "5", *MODEL)
    assert "5 shards of 1 file" in planned.stdout
    first = call("shard", "run", "a.run", "--index", "0", "--of", "2")
    assert "1/2 of each limit" in first.stderr
    assert "left of 60" in call("status", "a.run").stdout
    call("shard", "run", "a.run", "--index", "1", "--of", "2")
    assert "60 done, 0 failed, 0 left; 5 of 5 shards finished." in call("merge", "a.run").stdout
    assert answered() == [f"task-{number}" for number in range(1, 61)]


def test_a_slurm_task_finds_its_number_in_the_environment(monkeypatch):
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "4", *MODEL)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert "Shard 2:" in call("shard", "run", "a.run").stderr
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    assert "Shard 3:" in call("shard", "run", "a.run").stderr


def test_what_shards_began_one_machine_goes_on_with_and_shards_again_after_it():
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "4", *MODEL)
    call("shard", "run", "a.run", "--index", "1", "--of", "4")
    done = orjson.loads(call("merge", "a.run", "--json").stdout)["done"]
    assert 0 < done < 60
    call("run", "in.jsonl", "-o", "a.run", "--limit", "40", *MODEL)
    assert len(answered()) >= 40
    before = set(answered())
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "3", *MODEL)
    for index in range(3):
        call("shard", "run", "a.run", "--index", str(index), "--of", "3")
    merged = orjson.loads(call("merge", "a.run", "--json").stdout)
    assert merged["done"] == 60
    assert not merged.get("doubled_rows")
    assert before < set(answered())
    assert answered() == [f"task-{number}" for number in range(1, 61)]


def test_a_plan_for_another_input_is_refused(tmp_path):
    call("shard", "plan", "in.jsonl", "-o", "a.run", *MODEL)
    prompts(tmp_path, *numbered(3), name="other.jsonl")
    with pytest.raises(Exception, match="planned for other input files"):
        call("shard", "plan", "other.jsonl", "-o", "a.run", *MODEL)
    with pytest.raises(Exception, match="other parameters"):
        call("shard", "plan", "in.jsonl", "-o", "a.run", "--set", "temperature=0.1", *MODEL)


def test_several_files_come_out_in_order_and_named(tmp_path):
    for number in (2, 10):
        prompts(tmp_path, *({"prompt": f"{number}-{row}"} for row in range(5)), name=f"part-{number}.jsonl")
    call("shard", "plan", "part-*.jsonl", "-o", "a.run", *MODEL)
    for index in range(2):
        call("shard", "run", "a.run", "--index", str(index), "--of", "2")
    call("merge", "a.run")
    lines = lines_of(Path("a.run"), RESULTS)
    assert [line["row"] for line in lines] == list(range(1, 11))
    assert [Path(line["file"]).name for line in lines] == ["part-2.jsonl"] * 5 + ["part-10.jsonl"] * 5
    assert len({line["custom_id"] for line in lines}) == 10


def test_a_worker_without_number_and_coordinator_is_told_what_to_do():
    call("shard", "plan", "in.jsonl", "-o", "a.run", *MODEL)
    with pytest.raises(Exception, match=r"arkbatch shard serve a\.run"):
        call("shard", "run", "a.run")


def in_shell(*words, **more):
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=120, env=environ | more)


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_the_line_for_gnu_parallel_works_off_all_shards(tmp_path):
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "4", *MODEL)
    wrapper = tmp_path / "bin" / "arkbatch"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m arkbatch "$@"\n')
    wrapper.chmod(0o755)
    environ = {"PATH": f"{wrapper.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    in_shell("bash", str(ROOT / "jobs/cluster/parallel.sh"), "a.run", "2", **environ)
    assert answered() == [f"task-{number}" for number in range(1, 61)]


def test_the_scripts_for_slurm_and_parallel_are_valid_shell():
    for name in ("slurm-array.sbatch", "parallel.sh"):
        in_shell("bash", "-n", str(ROOT / "jobs/cluster" / name))


def test_the_options_that_the_examples_name_exist():
    helps = {name: call("shard", name, "--help").output for name in ("plan", "run", "serve")}
    for path in (ROOT / "jobs/cluster").iterdir():
        text = path.read_text()
        for name, shown in helps.items():
            for line in text.splitlines():
                if f"arkbatch shard {name} " in line:
                    options = [word for word in line.partition(f"shard {name} ")[2].split() if word.startswith("--")]
                    assert [option for option in options if option not in shown] == []


def test_a_table_is_cut_and_read_as_one_machine_reads_it(tmp_path):
    rows = [f'{number};"line one\nof ""{number}"""' for number in range(1, 41)]
    (tmp_path / "in.csv").write_text("id;text\n" + "\n".join(rows) + "\n", encoding="utf-8")
    asked = ["--prompt", "Say {text}", "--id-column", "id", *MODEL]
    call("shard", "plan", "in.csv", "-o", "a.run", "--shards", "4", *asked)
    for index in range(4):
        call("shard", "run", "a.run", "--index", str(index), "--of", "4")
    merged = orjson.loads(call("merge", "a.run", "--json").stdout)
    assert (merged["done"], merged["rows"], merged["shards"]) == (40, 40, 4)
    call("run", "in.csv", "-o", "local.run", *asked)
    ours, theirs = (
        sorted(
            (line["row"], line["offset"], line["digest"], line["custom_id"]) for line in lines_of(Path(name), RESULTS)
        )
        for name in ("a.run", "local.run")
    )
    assert ours == theirs


def _comparable(name):
    return sorted(
        (line["row"], line["offset"], line["digest"], line["custom_id"]) for line in lines_of(Path(name), RESULTS)
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_that_one_machine_began_is_handed_to_shards(tmp_path, ending):
    name = f"in.{ending}"
    if ending == "csv":
        rows = [f'{number},"line one\nof ""{number}"""' for number in range(1, 41)]
        (tmp_path / name).write_text("id,text\n" + "\n".join(rows) + "\n", encoding="utf-8")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"id": list(range(1, 41)), "text": [f"text {number}" for number in range(1, 41)]})
        parquet.write_table(table, tmp_path / name, row_group_size=7)
    asked = ["--prompt", "Say {text}", "--id-column", "id", *MODEL]
    call("run", name, "-o", "a.run", *asked, "--limit", "17")
    before = {line["id"] for line in lines_of(Path("a.run"), RESULTS)}
    call("shard", "plan", name, "-o", "a.run", "--shards", "4", *asked)
    planned = ShardDirectory(Path("a.run")).read_plan().count
    assert planned >= 3
    for index in range(planned):
        call("shard", "run", "a.run", "--index", str(index), "--of", str(planned))
    merged = orjson.loads(call("merge", "a.run", "--json").stdout)
    assert (merged["done"], merged["rows"], merged.get("doubled_rows", 0)) == (40, 40, 0)
    assert before <= {line["id"] for line in lines_of(Path("a.run"), RESULTS)}
    call("run", name, "-o", "local.run", *asked)
    assert _comparable("a.run") == _comparable("local.run")


def test_several_files_that_one_machine_began_are_handed_to_shards(tmp_path):
    for number in (1, 2, 10):
        prompts(tmp_path, *({"prompt": f"{number}-{row}"} for row in range(8)), name=f"part-{number}.jsonl")
    call("run", "part-*.jsonl", "-o", "a.run", "--limit", "13", *MODEL)
    before = {line["id"] for line in lines_of(Path("a.run"), RESULTS)}
    for is_killed in (True, False):  # a process that was killed before the plan was written leaves nothing that counts
        call("shard", "plan", "part-*.jsonl", "-o", "a.run", "--shards", "5", *MODEL)
        if is_killed:
            (tmp_path / "a.run" / "shards.json").unlink()
    planned = ShardDirectory(Path("a.run")).read_plan().count
    for index in range(planned):
        call("shard", "run", "a.run", "--index", str(index), "--of", str(planned))
    merged = orjson.loads(call("merge", "a.run", "--json").stdout)
    assert (merged["done"], merged["rows"], merged.get("doubled_rows", 0)) == (24, 24, 0)
    lines = lines_of(Path("a.run"), RESULTS)
    assert before <= {line["id"] for line in lines}
    assert [line["row"] for line in lines] == list(range(1, 25))
    assert "input" in call("status", "a.run").stdout
    assert "changed since" not in call("status", "a.run").stdout


def test_records_of_an_input_that_was_edited_are_not_handed_to_shards(tmp_path):
    call("run", "in.jsonl", "-o", "a.run", "--limit", "13", *MODEL)
    prompts(tmp_path, *numbered(20))
    with pytest.raises(Exception, match="The input changed since one machine worked on it"):
        call("shard", "plan", "in.jsonl", "-o", "a.run", *MODEL)


def test_nothing_records_beside_the_shards_of_a_run_that_workers_have(tmp_path):
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "4", *MODEL)
    shards = ShardDirectory(Path("a.run"))
    call("merge", "a.run")
    with shards.hold_lock(lambda: 0.0):
        with pytest.raises(RunLocked, match="is led by"):
            call("estimate", "in.jsonl", "-o", "a.run", "--sample", "3", *MODEL)
        with pytest.raises(RunLocked, match="is led by"):
            run("in.jsonl", run_dir="a.run", model=MODEL[1], simulate=True, progress=False)
        with (
            pytest.raises(RunLocked, match="in its shards"),
            OpenRun(job_of(Path("in.jsonl"), run_dir="a.run"), wall=float),
        ):
            pass
    assert answered() == []


def test_a_sample_is_sent_after_the_shards_are_merged():
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "4", *MODEL)
    call("shard", "run", "a.run", "--index", "1", "--of", "4")
    call("estimate", "in.jsonl", "-o", "a.run", "--sample", "3", *MODEL)
    assert len(set(answered())) == len(answered()) > 3
    call("run", "in.jsonl", "-o", "a.run", *MODEL)
    assert sorted(answered()) == sorted(f"task-{number}" for number in range(1, 61))
