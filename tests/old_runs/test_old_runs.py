"""Run directories that the version before 0.2.0 (commit ae824bb) wrote are read, resumed and retried as ever.

`data/` was made by make_old_runs.sh, `data/expected/` is what that version said about it. Only the command line is used
here, so nothing depends on how modules are called. Figures and JSON values are compared, and not the words around them;
a later version may add keys.
"""

import base64
import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
EXPECTED = DATA / "expected"
RECORDED_AT = "/data"  # stands in run.json for the directory that the runs were made in
INPUTS = {"packed": "texts.jsonl", "budget": "job.run/input.jsonl", "sampled": "reviews.jsonl.gz"}
RUN = {"streamed": ["--timeout", "1"], "budget": ["--max-cost", "1"], "sampled": ["--concurrency", "4"]}
ATTEMPTS = {"mixed": "1", "edited": "3", "streamed": "7", "sealed": "5", "killed": "3", "steered": "5"}  # of `retry`
MENDED = {"edited": {4}, "streamed": {3}, "sealed": {3}, "killed": {6}, "steered": {1}}  # by these attempts
TEXTS = {"mixed": [2, 9, 10, 13], "streamed": [2, 7], "tools": [1, 2], "packed": [5, 6]}  # rows shown as text too
WITHOUT_LEDGER = {"streamed", "packed", "steered", "edited"}  # are resumed after ledger.bin was deleted
SIMULATED = [
    "mixed", "edited", "streamed", "sealed", "packed", "tools", "killed", "budget", "steered", "structured", "sampled",
]  # fmt: skip
NAMES = [*SIMULATED, "served"]

KEPT = {"PATH", "HOME", "TMPDIR", "LANG"}  # of the environment

# Several commands in one process, each as `python -m arkbatch WORDS` would be; "-move" and "-look" are ours.
DRIVER = """
import contextlib, io, json, os, runpy, sys

def text(name):
    with contextlib.suppress(FileNotFoundError), open("job.run/" + name, encoding="utf-8") as file:
        return file.read()

said = []
for words in json.loads(sys.argv[1]):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code = 0
    if words[0] == "-move":
        os.replace(*words[1:])
    elif words[0] != "-look":
        sys.argv = ["arkbatch", *words]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_module("arkbatch", run_name="__main__", alter_sys=False)
            except SystemExit as ended:
                code = ended.code or 0
    answer = {"code": code, "out": out.buffer.getvalue().decode(), "err": err.buffer.getvalue().decode()}
    if words[0] in ("-look", "run", "retry"):
        answer |= {name: text(name) for name in ("results.jsonl", "failures.jsonl", "usage.json", "run.json")}
    said.append(answer)
with open("said.json", "w", encoding="utf-8") as file:
    json.dump(said, file)
"""


def copied(name, where):
    """The run and its input in another place, as old as they were when they were recorded."""
    folder = where / name
    shutil.copytree(DATA / name, folder)
    (folder / "job_run").rename(folder / "job.run")
    info = folder / "job.run" / "run.json"
    text = info.read_text("utf-8")
    recorded = json.loads(text)["input"]
    info.write_text(text.replace(f'"{RECORDED_AT}/', f'"{where}/'), "utf-8")
    source = folder / Path(recorded["path"]).relative_to(f"{RECORDED_AT}/{name}")
    os.utime(source, ns=(recorded["mtime_ns"], recorded["mtime_ns"]))
    return folder


def environment(**more):
    given = {key: value for key, value in os.environ.items() if key in KEPT or key.startswith("PYTHON")}
    return given | {"NO_PROXY": "127.0.0.1", "TZ": "UTC", "COLUMNS": "120", "PYTHONUTF8": "1"} | more


@pytest.fixture
def said(quick_commands):
    """Commands that wait for nobody but the simulator."""
    return partial(said_by, quick_commands / "python")


def said_by(python, folder, *commands, **env):
    """What each command answered, in order."""
    words = [python, "-c", DRIVER.replace("sys.argv[1]", repr(json.dumps(commands)))]
    subprocess.run(words, cwd=folder, env=environment(**env), stdin=subprocess.DEVNULL, check=True, timeout=120)
    return json.loads((folder / "said.json").read_text("utf-8"))


# What is compared

WORDS = {"advice", "go_on", "next_command", "reason", "reasons", "halt", "version", "no_price_because"}
OF_THE_MOMENT = {"made_at", "sessions", "asked"}  # the latter two stand in run.json, and are compared with it


def figures(text):
    """The numbers of a text in order."""
    kept = [line for line in text.splitlines() if "What to do:" not in line]
    return " ".join(re.findall(r"\d+(?:[.,:]\d+)*", "\n".join(kept)))


def plain(value):
    """A JSON value without words and without what is of the moment."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in WORDS | OF_THE_MOMENT}
    return [plain(each) for each in value] if isinstance(value, list) else value


def looks(name):
    """The commands that only read, by the name under which their answers are kept."""
    records = [*lines((DATA / name / "job_run/results.jsonl").read_text("utf-8").rpartition("\n")[0])]
    records += lines((DATA / name / "job_run/failures.jsonl").read_text("utf-8"))
    source = ["job.run/input.jsonl", "--model", "ep-20260101000000-abcde"] if name == "budget" else ["job.toml"]
    shown = sorted({record["row"] for record in records})
    found = {
        "status": ["status", "job.run", "--json"],
        "status text": ["status", "job.run"],
        "cost": ["cost", "job.run", "--json"],
        "cost text": ["cost", "job.run"],
        "cost by prefix": ["cost", "job.run", "--by", "prefix", "--json"],
        "report": ["report", "job.run", "--json"],
        "check": ["check", *source, "--json"],
        "check text": ["check", *source],
        "answers": ["answers", "job.run"],
    }
    found |= {f"show {row}": ["show", "job.run", str(row), "--json"] for row in shown}
    return found | {f"show {row} text": ["show", "job.run", str(row)] for row in TEXTS.get(name, shown[:2])}


def kept(name, answers, where):
    """What is compared of the answers of `looks`."""
    found = {}
    for key, answer in zip(looks(name), answers, strict=True):
        out = answer["out"].replace(str(where), RECORDED_AT)
        if key.endswith("text"):
            value = figures(out)
        elif key == "answers":
            value = [line["answer"] for line in lines(out) if line["answer"] is not None]  # now beside the columns
        else:
            value = [plain(line) for line in lines(out)]
        if key.startswith("show") and not key.endswith("text"):
            continue  # the record itself, which is compared with its line
        found[key] = {"code": answer["code"], "said": value}
    return found


def holds(wanted, found, path=""):
    """All that is wanted is there, at its place; mappings may have more."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            assert key in found, f"{path}.{key} is gone"
            holds(value, found[key], f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(found, list):
        assert len(wanted) == len(found), path
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            holds(one, other, f"{path}[{number}]")
    else:
        assert wanted == found, path


def lines(text):
    return [json.loads(line) for line in text.split("\n") if line]


class State:
    """The records as they stand after one of the steps."""

    def __init__(self, folder, name, answer):
        self.results = whole_lines(answer["results.jsonl"])
        self.failures = whole_lines(answer["failures.jsonl"])
        source = folder / INPUTS.get(name, "prompts.jsonl")
        text = (gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()).decode()
        self.rows = [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        self.run = json.loads(answer["run.json"])
        self.usage = json.loads(answer["usage.json"])["usage"] if answer["usage.json"] else {}

    @property
    def done(self):
        return [json.loads(line)["row"] for line in self.results]

    @property
    def standing(self):
        """Lines of rows that stand failed, by row; a later line counts for an earlier one."""
        found = {json.loads(line)["row"]: line for line in self.failures}
        done = set(self.done)
        return {row: line for row, line in found.items() if row not in done and not json.loads(line).get("interrupted")}

    @property
    def left(self):
        return set(self.rows) - set(self.done) - set(self.standing)

    def sent_by(self, session):
        """Rows with a call of this session, whose number is the second part of a call's id."""
        records = [json.loads(line) for line in (*self.results, *self.failures)]
        return {
            record["row"]
            for record in records
            if any(call["id"].rsplit("-", 3)[1] == str(session) for call in record.get("calls", ()))
        }

    def is_whole(self):
        """Each row once, nothing interrupted, and the sums are those of the lines."""
        ended = [json.loads(line) for line in (*self.results, *self.failures)]
        assert Counter(record["row"] for record in ended) == Counter(self.rows)
        for meter in ("input", "output"):
            assert sum(record["usage"].get(meter, 0) for record in ended) == self.usage.get(meter, 0)


def whole_lines(text):
    return text.split("\n")[:-1]


def summary(answer):
    found = lines(answer["out"])[-1]
    return {key: found[key] for key in ("succeeded", "failed", "left")} | {"recorded": found["session"]["recorded"]}


def never_sent(line):
    return json.loads(line)["error"]["kind"] == "bad_row"


def resumed_well(before, after, answer):
    """Only what was left was sent, and what was there are the bytes that they were."""
    left = before.left
    after.is_whole()
    assert after.results[: len(before.results)] == before.results
    assert all(line in after.failures for line in before.standing.values())
    session = len(after.run["sessions"])
    assert session == len(before.run["sessions"]) + bool(left)
    assert {*after.done[len(before.results) :], *(set(after.standing) - set(before.standing))} == left
    assert after.sent_by(session) == left if left else not answer["err"].count("session begins")
    found = summary(answer)
    assert (found["recorded"], found["left"]) == (len(left), 0)
    assert (found["succeeded"], found["failed"]) == (len(after.done), len(after.standing))


def retried_well(before, after, answer):
    """Exactly the failed rows were sent; a row that was mended moved to the results."""
    failed = before.standing
    after.is_whole()
    assert after.results[: len(before.results)] == before.results
    session = len(after.run["sessions"])
    assert session == len(before.run["sessions"]) + bool(failed)
    assert after.sent_by(session) == {row for row, line in failed.items() if not never_sent(line)} if failed else True
    assert {*after.done[len(before.results) :], *after.standing} == set(failed)
    found = summary(answer)
    assert (found["recorded"], found["left"]) == (len(failed), 0)


def shown_well(name, answers, folder):
    """`show --json` is the record as it is written, with its input."""
    text = "".join((folder / "before" / each).read_text("utf-8") for each in ("failures.jsonl", "results.jsonl"))
    records = {record["row"]: record for record in (json.loads(line) for line in whole_lines(text))}
    for key, answer in zip(looks(name), answers, strict=True):
        if key.startswith("show") and not key.endswith("text"):
            (found,) = lines(answer["out"])
            holds(records[found["row"]], found, key)


def only_answers(expected, name):
    """Take the texts of the answers alone, which stand beside the columns of the input now; vectors are no texts."""
    if name == "packed":
        del expected["answers"]
    else:
        expected["answers"]["said"] = [answer for _, _, answer in expected["answers"]["said"]]


@pytest.mark.parametrize("name", SIMULATED)
def test_it_is_read_resumed_and_retried_as_before(name, tmp_path, said):
    folder = copied(name, tmp_path)
    shutil.copytree(folder / "job.run", folder / "before")
    reads, run = list(looks(name).values()), ["run", "job.toml", "--simulate", "--concurrency", "8", *RUN.get(name, [])]
    answers = said(
        folder,
        *reads,
        ["report", "job.run", "-o", "page.html"],
        ["-move", "job.run/ledger.bin", "ledger.bin"],
        ["status", "job.run", "--json"],
        ["cost", "job.run", "--json"],
        *([] if name in WITHOUT_LEDGER else [["-move", "ledger.bin", "job.run/ledger.bin"]]),
        ["-look"],
        run,
        ["status", "job.run", "--json"],
        run,
        ["retry", "job.run", "--max-attempts", ATTEMPTS.get(name, "2")],
    )
    expected = json.loads((EXPECTED / f"{name}.json").read_text("utf-8"))
    only_answers(expected, name)
    holds(expected, kept(name, answers[: len(reads)], tmp_path))
    shown_well(name, answers[: len(reads)], folder)
    status = json.loads(answers[0]["out"])
    recorded = json.loads((folder / "before/run.json").read_text("utf-8"))
    holds(recorded["sessions"], status["sessions"])
    holds(recorded["asked"], status["asked"])
    assert status["input_state"] == "as it was"
    assert (folder / "page.html").stat().st_size > 10_000
    for key, answer in zip(("status", "cost"), answers[len(reads) + 2 :], strict=False):  # from the records alone
        holds(expected[key]["said"], [plain(line) for line in lines(answer["out"].replace(str(tmp_path), RECORDED_AT))])
    first, ran, then, nothing, sent = answers[-5:]
    before, after, idle, last = (State(folder, name, step) for step in (first, ran, nothing, sent))
    resumed_well(before, after, ran)
    then = json.loads(then["out"])
    assert (then["done"], then["failed"], then["left"]) == (len(after.done), len(after.standing), 0)
    assert (idle.results, idle.failures) == (after.results, after.failures)
    retried_well(idle, last, sent)
    assert set(idle.standing) - set(last.standing) == MENDED.get(name, set())


def test_vectors_of_packed_rows_are_those_that_were_recorded(tmp_path, said):
    folder = copied("packed", tmp_path)
    (answer,) = said(folder, ["vectors", "job.run", "-o", "v.npy", "--json"])
    assert (answer["code"], json.loads(answer["out"])["vectors"]) == (0, 8)
    ids = lines((folder / "v.npy.ids.jsonl").read_text("utf-8"))
    recorded = {record["row"]: record for record in lines((folder / "job.run/results.jsonl").read_text("utf-8"))}
    numbers = (folder / "v.npy").read_bytes()[-8 * 8 * 4 :]
    for place, row in enumerate(each["row"] for each in ids):
        (item,) = recorded[row]["response"]["body"]["data"]
        assert numbers[place * 32 :][:32] == base64.b64decode(item["embedding"])
        assert all(abs(each) <= 1 for each in struct.unpack("<8f", numbers[place * 32 :][:32]))


def test_only_the_chosen_failures_go_again(tmp_path, said):
    folder = copied("mixed", tmp_path)
    first, sent = said(folder, ["-look"], ["retry", "job.run", "--row", "3,13", "--max-attempts", "1"])
    before, after = State(folder, "mixed", first), State(folder, "mixed", sent)
    after.is_whole()
    assert after.sent_by(len(after.run["sessions"])) == {3}
    assert summary(sent)["recorded"] == 2
    unchosen = [line for row, line in before.standing.items() if row not in {3, 13}]
    assert len(unchosen) == 4
    assert all(line in after.failures for line in unchosen)


def test_a_changed_parameter_is_refused_and_an_edited_input_too(tmp_path, said):
    folder = copied("edited", tmp_path)
    source = folder / "prompts.jsonl"
    text = source.read_text("utf-8")
    refused = said(folder, ["-look"], ["run", "job.toml", "--simulate", "--set", "temperature=0.5"])
    source.write_text(text.replace("Count to two.", "Count to ten."), "utf-8")
    refused += said(folder, ["run", "job.toml", "--simulate"])
    assert [each["code"] for each in refused] == [0, 5, 5]
    assert "temperature" in refused[1]["err"]
    assert "--rebase" in refused[2]["err"]
    (rebased,) = said(folder, ["run", "job.toml", "--simulate", "--rebase"])
    before, after = State(folder, "edited", refused[0]), State(folder, "edited", rebased)
    after.is_whole()
    assert after.sent_by(len(after.run["sessions"])) == {1, 7, 8}
    assert after.results[:4] == [line for line in before.results if json.loads(line)["row"] != 1]
    assert sorted(after.done) == [1, 2, 3, 5, 6, 7, 8]


# A run that was not marked as simulated, and a server of our own, which counts


@contextmanager
def serving():
    """The base URL of a server, and the prompts that it was sent."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append(body["messages"][-1]["content"])
            message = {"role": "assistant", "content": "yes"}
            answer = {
                "id": "1",
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", heard
        finally:
            server.shutdown()


def test_a_server_hears_each_row_that_is_left_once_and_no_other(tmp_path):
    folder = copied("served", tmp_path)
    shutil.copytree(folder / "job.run", folder / "before")
    reads = list(looks("served").values())
    with serving() as (url, heard):
        run = ["run", "job.toml", "--base-url", url]
        retry = ["retry", "job.run", "--base-url", url]
        steps = [*reads, ["-look"], run, [*run, "--mixed"], [*run, "--mixed"], retry, retry]
        answers = said_by(sys.executable, folder, *steps, OPENAI_API_KEY="none")
    expected = json.loads((EXPECTED / "served.json").read_text("utf-8"))
    only_answers(expected, "served")
    holds(expected, kept("served", answers[: len(reads)], tmp_path))
    shown_well("served", answers[: len(reads)], folder)
    first, refused, ran, nothing, sent, none = answers[len(reads) :]
    assert [each["code"] for each in (refused, ran, nothing, sent, none)] == [5, 3, 3, 0, 0]
    before, after, last = (State(folder, "served", step) for step in (first, ran, none))
    resumed_well(before, after, ran)
    last.is_whole()
    assert sorted(last.done) == list(range(1, 9))
    prompts = {row["custom_id"]: row["prompt"] for row in lines((folder / "prompts.jsonl").read_text("utf-8"))}
    left = [prompts[f"r{row}"] for row in sorted(before.left)]
    failed = [prompts[f"r{row}"] for row in sorted(before.standing)]
    assert sorted(heard[: len(left)]) == sorted(left)
    assert sorted(heard[len(left) :]) == sorted(failed)


def write_expected(where):
    """Keep what the code at hand says; make_old_runs.sh does that with the code that made the runs."""
    EXPECTED.mkdir(exist_ok=True)
    for name in NAMES:
        folder = copied(name, where)
        found = kept(name, said(folder, *looks(name).values()), where)
        text = "".join(f"  {json.dumps(key)}: {json.dumps(found[key], ensure_ascii=False)},\n" for key in found)
        (EXPECTED / f"{name}.json").write_text("{\n" + text.rstrip(",\n") + "\n}\n", "utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        write_expected(Path(place))
