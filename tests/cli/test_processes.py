"""The real command: signals, a second process, standard input, a full disk, and what is printed at the end."""

import gzip
import resource
import signal

import orjson
import pytest
from processes import arguments, arkbatch, canned, environment, size, started, until
from runs import numbered, prompts

from arkbatch.journal.run_directory import FAILURES, RESULTS

NO_CACHES = {"PYTHONDONTWRITEBYTECODE": "1"}  # a file size limit would cut them, for everyone after


@pytest.fixture
def server():
    with canned() as (url, heard):
        server = type("Server", (), {"url": url, "heard": heard})
        yield server


def command(server, *more, source="in.jsonl"):
    return ("run", source, "-o", "a.run", "--model", "m", "--base-url", server.url, *more)


def rows_done(folder):
    return [orjson.loads(line)["row"] for line in (folder / "a.run" / RESULTS).read_bytes().splitlines()]


def last_line(printed):
    return printed.decode().strip().splitlines()[-1]


def interrupted(folder, server, *signals):
    """A run of a thousand rows that got these signals once it had its first record."""
    prompts(folder, *numbered(1_000))
    process = started(*command(server, "--concurrency", 4), cwd=folder)
    until(lambda: size(folder / "a.run" / RESULTS))
    log = folder / "a.run" / "run.log"
    for each in signals:
        process.send_signal(each)
        # Two signals that come before the first was heard are one.
        until(lambda: b"stop asked for" in log.read_bytes())
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_the_calls_in_flight_finish(tmp_path, server, sent):
    code, out, err = interrupted(tmp_path, server, sent)
    assert code == 130
    assert b"Stopping: waiting for" in err
    assert last_line(err) == f"Resume with:  arkbatch {' '.join(command(server, '--concurrency', '4'))}"
    assert b"Traceback" not in err
    assert orjson.loads(out)["ending"] == "stopped"
    assert len(rows_done(tmp_path)) == len(server.heard)


def test_the_second_signal_abandons_them_and_the_run_resumes(tmp_path):
    with canned(latency=2) as (url, heard):
        server = type("Server", (), {"url": url, "heard": heard})
        code, out, err = interrupted(tmp_path, server, signal.SIGINT, signal.SIGINT)
        assert (code, out) == (130, b"")
        assert last_line(err).startswith("Resume with:  arkbatch run in.jsonl -o a.run")
        assert b"Traceback" not in err
    done = len(rows_done(tmp_path))
    with canned(latency=0) as (url, heard):
        # The address is a parameter of the run, so the new one has to be meant.
        again = arkbatch("run", "in.jsonl", "-o", "a.run", "--model", "m", "--base-url", url, "--mixed", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"Resuming a.run: {done} rows done, 0 failed, {1_000 - done} left.".encode() in again.stderr
    assert sorted(rows_done(tmp_path)) == list(range(1, 1_001))


def test_a_finished_run_says_so_and_sends_nothing(tmp_path, server):
    prompts(tmp_path, *numbered(3))
    arkbatch(*command(server), cwd=tmp_path)
    again = arkbatch(*command(server), cwd=tmp_path)
    assert (again.returncode, len(server.heard)) == (0, 3)
    assert b"Nothing left to send" in again.stderr
    assert orjson.loads(again.stdout)["succeeded"] == 3


def test_a_second_process_is_told_who_holds_the_run(tmp_path, server):
    prompts(tmp_path, *numbered(400))
    first = started(*command(server, "--concurrency", 2), cwd=tmp_path)
    until(lambda: size(tmp_path / "a.run" / RESULTS))
    second = arkbatch(*command(server), cwd=tmp_path)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    assert second.returncode == 5
    assert f"a.run is being written by process {first.pid}".encode() in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert arkbatch(*command(server), cwd=tmp_path).returncode == 0
    assert sorted(rows_done(tmp_path)) == list(range(1, 401))


def test_standard_input_is_kept_and_resumed(tmp_path, server):
    rows = b"".join(orjson.dumps(row) + b"\n" for row in numbered(30))
    words = command(server, "--limit", 10, source="-")
    assert arkbatch(*words, cwd=tmp_path, stdin=rows).returncode == 0
    whole = command(server, source="-")
    assert arkbatch(*whole, cwd=tmp_path, stdin=b"").returncode == 0
    assert sorted(rows_done(tmp_path)) == list(range(1, 31))
    assert len(server.heard) == 30


def test_standard_input_that_is_another_one_is_refused(tmp_path, server):
    words = command(server, source="-")
    arkbatch(*words, cwd=tmp_path, stdin=b'{"prompt": "a"}\n')
    other = arkbatch(*words, cwd=tmp_path, stdin=b'{"prompt": "b"}\n')
    assert other.returncode == 5
    assert b"--rebase" in other.stderr
    assert arkbatch(*words, "--rebase", cwd=tmp_path, stdin=b'{"prompt": "b"}\n').returncode == 0


def test_empty_standard_input_is_a_usage_error(tmp_path, server):
    empty = arkbatch(*command(server, source="-"), cwd=tmp_path, stdin=b"")
    assert empty.returncode == 2
    assert b"Standard input is empty" in empty.stderr
    assert arkbatch(*command(server, source="-"), cwd=tmp_path, stdin=b'{"prompt": "a"}\n').returncode == 0


@pytest.mark.parametrize("allowed", [300, 3_000, 20_000])
def test_a_full_disk_stops_the_run_and_it_resumes_after_space_is_made(tmp_path, server, allowed):
    import subprocess

    prompts(tmp_path, *numbered(300))

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, allowed))

    full = subprocess.run(
        arguments(*command(server)),
        cwd=tmp_path,
        env=environment(**NO_CACHES),
        capture_output=True,
        preexec_fn=small,
        check=False,
    )
    assert full.returncode == 5, full.stderr.decode()
    assert b"No space left" in full.stderr
    assert b"make space and run the same command again" in full.stderr
    assert b"Traceback" not in full.stderr
    results = tmp_path / "a.run" / RESULTS
    assert not size(results) or results.read_bytes().endswith(b"\n")
    again = arkbatch(*command(server), cwd=tmp_path)
    assert again.returncode == 0, again.stderr.decode()
    assert sorted(rows_done(tmp_path)) == list(range(1, 301))


def test_every_kind_of_file_is_read(tmp_path, server):
    long = orjson.dumps({"custom_id": "long", "prompt": "x" * (20 << 20)})
    data = b'\xef\xbb\xbf{"prompt": "bom"}\r\n' + long + b"\n\n" + b'{"prompt": "caf\xe9"}\n{oops\n{"prompt": "last"}'
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(data, 1))
    done = arkbatch(*command(server, source="in.jsonl.gz"), cwd=tmp_path)
    assert done.returncode == 3, done.stderr.decode()
    assert sorted(rows_done(tmp_path)) == [1, 2, 6]
    failed = [orjson.loads(line) for line in (tmp_path / "a.run" / FAILURES).read_bytes().splitlines()]
    assert [(line["row"], line["error"]["kind"]) for line in failed] == [(4, "bad_row"), (5, "bad_row")]
    assert "UTF-8" in failed[0]["error"]["message"]
    assert max(len(body) for _, body in server.heard) > 20 << 20


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "missing.jsonl", "--model", "m"], 2, b"missing.jsonl"),
        (["run", "in.jsonl", "--model", "m", "--nonsense"], 2, b"--nonsense"),
        (["run", "in.jsonl", "--model", "m", "-o", "other"], 5, b"other is not a run directory: it holds x"),
        (["run", "in.jsonl", "--model", "m", "--concurrency", "0"], 2, b"concurrency"),
        (["run", "in.jsonl"], 2, b"no model"),
    ],
)
def test_mistakes_are_one_line_and_a_code(tmp_path, server, words, code, said):
    prompts(tmp_path, *numbered(3))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("mine")
    ended = arkbatch(*words, "--base-url", server.url, cwd=tmp_path)
    assert (ended.returncode, said in ended.stderr) == (code, True), ended.stderr.decode()
    assert b"Traceback" not in ended.stderr
    assert server.heard == []


def test_a_key_is_printed_nowhere(tmp_path, server):
    prompts(tmp_path, *numbered(3))
    env = {"ARK_API_KEY": "sk-very-secret", "ARK_BASE_URL": server.url}
    ended = arkbatch("run", "in.jsonl", "--model", "m", "-o", "a.run", cwd=tmp_path, env=env)
    assert "sk-very-secret" in server.heard[0][0]
    files = b"".join(path.read_bytes() for path in (tmp_path / "a.run").iterdir())
    assert b"sk-very-secret" not in files + ended.stdout + ended.stderr
