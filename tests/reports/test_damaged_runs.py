"""Whatever became of the files of a run, each command says in one line what is wrong and what to do."""

import json
import shutil

import pytest
from runs import answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli import exit_code_of
from arkbatch.core.errors import RunDamaged, RunDirectoryError
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import FAILURES, LEDGER, RESULTS, RUN, USAGE, RunDirectory
from arkbatch.limits.pace_file import PACE, PaceNote, write_pace

FILES = (RUN, RESULTS, FAILURES, LEDGER, USAGE, PACE, "lock", "run.log")
READ_BY_MANY = (RUN, RESULTS, FAILURES)
READING = (["status"], ["status", "--json"], ["show", "1"], ["show", "3"], ["answers", "-o", "answers.csv"], ["cost"])
_DEEPEST_PLACE = 2
WRONG = ([], {}, None, -1, "x", 1e300, 10**30)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with two answers and a failure, and with every file that a run can have."""
    folder = tmp_path_factory.mktemp("whole")
    job = job_of(prompts(folder, *numbered(3)))
    run = worked_off(job, lambda row: failed(row) if row.number == 3 else answered(row))
    write_pace(RunDirectory(run), PaceNote("doubao", "simulator", 1.0))
    (run / "run.log").write_text("2026-01-01 began\n")
    assert {entry.name for entry in run.iterdir()} >= {*FILES}
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for entry in whole.iterdir():
        (shutil.copytree if entry.is_dir() else shutil.copy2)(entry, tmp_path / entry.name)
    return tmp_path


def damages(data):
    """A file in many states, by name. None: it is a directory; a missing key: it is gone."""
    return {
        "empty": b"",
        "blank": b"\n\n",
        "zeros after a power cut": bytes(len(data)),
        "binary": bytes(range(256)) * 2,
        "first half": data[: len(data) // 2],
        "second half": data[len(data) // 2 :],
        "cut": data[:-3],
        "null": b"null\n",
        "list": b"[]\n",
        "object": b"{}\n",
        "number": b"5\n",
        "words": b"hello\n",
        "deep": b"[" * 5_000 + b"\n",
        "deep inside": data.replace(b"{", b'{"key_of_tomorrow":' + b"[" * 2_000 + b"]" * 2_000 + b",", 1),
        "bad letter": data.replace(b'"role"', b'"r\xff"'),
        "byte order mark": b"\xef\xbb\xbf" + data,
        "utf-16": data.decode("utf-8", "replace").encode("utf-16"),
        "newer format": data.replace(b'"format": 1', b'"format": 99'),
        "newer key": data.replace(b"{", b'{"key_of_tomorrow":[1],', 1),
        "twice": data + data,
        "junk behind": data + b"junk\n",
        "a directory": None,
    }


def put(path, data):
    path.unlink()
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)


def checked(capsys, *words):
    """Run a command. Any traceback is an exception here; a refusal is one line."""
    code = exit_code_of([*words])
    said = capsys.readouterr().err
    assert code in (0, 1, 2, 3, 5)
    if code in (2, 5) and said.startswith("arkbatch:"):
        assert said.count("\n") == 1
        assert said.rstrip().endswith((".", ":", '"')) or "arkbatch" in said
    return code


@pytest.mark.parametrize("name", FILES)
def test_no_command_that_reads_a_run_ends_with_a_traceback(folder, name, capsys):
    path, commands = folder / "a.run" / name, READING if name in READ_BY_MANY else READING[:1]
    for data in damages(path.read_bytes()).values():
        original = path.read_bytes()
        put(path, data)
        for command, *more in commands:
            checked(capsys, command, "a.run", *more)
        shutil.rmtree(path) if data is None else path.unlink()
        path.write_bytes(original)
    path.unlink()
    for command, *more in commands:
        checked(capsys, command, "a.run", *more)


@pytest.mark.parametrize("state", ["null", "first half", "deep inside", "second half"])
def test_a_damaged_failure_is_told_by_the_retry_too(folder, capsys, state):
    path = folder / "a.run" / FAILURES
    put(path, damages(path.read_bytes())[state] + b"\n")
    assert checked(capsys, "retry", "a.run") == 5


def variants(value):
    """The value with each part of it in turn replaced by something else, or taken out, as JSON."""
    for number, place in enumerate(places(value)):
        for turn in (0, 3):  # two of the wrong values for each place, all of them over the places
            wrong = WRONG[(number + turn) % len(WRONG)]
            other = json.loads(json.dumps(value))
            within(other, place[:-1])[place[-1]] = wrong
            yield other
        other = json.loads(json.dumps(value))
        del within(other, place[:-1])[place[-1]]
        yield other


def places(value, before=()):
    inside = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*before, key)
        if len(before) < _DEEPEST_PLACE:
            yield from places(each, (*before, key))


def within(value, place):
    for key in place:
        value = value[key]
    return value


def test_any_part_of_run_json_may_be_of_another_type(folder, capsys):
    path = folder / "a.run" / RUN
    for other in variants(json.loads(path.read_bytes())):
        path.write_text(json.dumps(other))
        for command, *more in (["status"], ["show", "3"]):
            checked(capsys, command, "a.run", *more)


@pytest.mark.parametrize("name", [RESULTS, FAILURES])
def test_any_part_of_a_record_may_be_of_another_type(folder, name, capsys):
    path = folder / "a.run" / name
    first, *others = path.read_bytes().splitlines(keepends=True)
    (folder / "a.run" / LEDGER).unlink()
    for other in variants(json.loads(first)):
        path.write_bytes(json.dumps(other).encode() + b"\n" + b"".join(others))
        for command, *more in (["status"], ["show", "3"]):
            checked(capsys, command, "a.run", *more)


@pytest.mark.parametrize("name", [name for name in FILES if name not in (RESULTS, FAILURES)])
def test_a_run_with_a_damaged_file_goes_on_or_says_what_to_do(folder, name):
    path = folder / "a.run" / name
    job = job_of(folder / "in.jsonl")
    for state, data in damages(path.read_bytes()).items():
        original = path.read_bytes()
        put(path, data)
        try:
            with OpenRun(job, wall=lambda: 2e9) as run:
                ledger = run.journal.ledger
                assert (ledger.done.count, ledger.failed.count) == (2, 1), state
                assert [row.number for row in run.rows()] == []
        except RunDamaged as told:
            told_of = RUN if "delete it and run the same command again" in str(told) else str(told)
        except (RunDirectoryError, OSError) as told:
            told_of = name if data is None or "Update arkbatch" in str(told) else str(told)
        else:
            told_of = name
        assert told_of == name, state
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(original)


def test_a_run_whose_run_json_is_gone_keeps_its_answers(folder):
    (folder / "a.run" / RUN).unlink()
    with OpenRun(job_of(folder / "in.jsonl"), wall=lambda: 2e9) as run:
        assert [row.number for row in run.rows()] == []
        assert run.journal.ledger.done.count == 2
    assert (folder / "a.run" / RUN).stat().st_size
