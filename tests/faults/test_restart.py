"""The server is a process that dies, and is started again."""

from fault_runs import each_row_once
from processes import size, started, until
from runs import numbered, prompts
from simulator_process import simulator_process as serving


def test_a_server_that_is_killed_and_started_again_costs_no_row_and_no_attempt(tmp_path):
    prompts(tmp_path, *numbered(400))
    with serving() as url:
        command = ("run", "in.jsonl", "-o", "a.run", "--model", "m", "--base-url", url, "--concurrency", 8)
        process = started(*command, "--max-attempts", 1, cwd=tmp_path)
        until(lambda: size(tmp_path / "a.run" / "results.jsonl") > 0)
    log = tmp_path / "a.run" / "run.log"
    until(lambda: "the service is away" in log.read_text())
    with serving(url.split(":")[2].split("/")[0]):
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    assert b"The service is back" in err
    assert each_row_once(tmp_path, 400) == []
