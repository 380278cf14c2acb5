"""The real process, killed at random moments: each row has one record, and the records are the truth."""

import random
import time

import orjson
from processes import arkbatch, canned, size, started, until
from runs import numbered, prompts

from arkbatch.journal.run_directory import FAILURES, RESULTS, USAGE

ROWS = 1_000
KILLS = 21
CONCURRENCY = 16


def records(run_dir):
    return [orjson.loads(line) for name in (RESULTS, FAILURES) for line in (run_dir / name).read_bytes().splitlines()]


def test_a_run_killed_again_and_again_has_each_row_once(tmp_path):
    rows = numbered(ROWS)
    for number in range(0, ROWS, 50):
        rows[number] = b"{this is no row\n"
    prompts(tmp_path, *rows)
    chance, run_dir = random.Random(7), tmp_path / "a.run"
    with canned() as (url, heard):
        command = ("run", "in.jsonl", "-o", "a.run", "--model", "m", "--base-url", url, "--concurrency", CONCURRENCY)
        for kill in range(KILLS):
            process, before = started(*command, cwd=tmp_path), size(run_dir / RESULTS)
            if kill % 4:  # every fourth dies while it starts, or while it reads the run
                until(lambda p=process, b=before: p.poll() is not None or size(run_dir / RESULTS) > b)
                time.sleep(chance.uniform(0, 0.08))
            else:
                time.sleep(chance.uniform(0.05, 0.4))
            process.kill()
            process.communicate()
        last = arkbatch(*command, cwd=tmp_path)
    assert last.returncode == 3, last.stderr.decode()
    found = records(run_dir)
    assert sorted(record["row"] for record in found) == list(range(1, ROWS + 1))
    assert len(heard) - (ROWS - ROWS // 50) <= KILLS * CONCURRENCY
    counted = orjson.loads((run_dir / USAGE).read_bytes())
    assert counted["usage"] == {
        meter: sum(record["usage"].get(meter, 0) for record in found) for meter in counted["usage"]
    }
    assert counted["usage"]["input"] == 10 * (ROWS - ROWS // 50)
    assert {line["custom_id"] for line in found if not line["error"]} == {
        row["custom_id"] for row in rows if type(row) is dict
    }
