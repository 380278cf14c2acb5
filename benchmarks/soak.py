"""Rows through mixed faults in real processes: what comes out, and what it takes.

    python benchmarks/soak.py                               an hour, 1,000,000 rows
    python benchmarks/soak.py --minutes 2 --rows 20000      the short form, as in the tests

A simulator breaks one call in eight, in every way that a call can break and still be tried again, and now and then
says that it is busy or that the rate is too high. One call in ten is answered, or refused, in another provider's
dialect. Half of the rows are streamed. Beside that it is killed and started again, the run is stopped for
some seconds (SIGSTOP), killed (SIGKILL) and asked to end (SIGTERM), in turn. A run that ended goes on by the same
command; rows that were given up, if there are any, are sent by `retry` at the end. The calls are made with temporary
keys of five minutes' life. `--rpm` is set at each start so that the rows last as long as was asked.
Printed at the end: rows, duplicates, losses, failures, whether the usage is what the records add up to, and by dialect
whether it is what the simulator billed, call by call; calls, peak memory and most open files of the run, and where a
key was found.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from arkbatch.simulator.dialects import DIALECTS, ERRORS

FAULTS = {
    "server_error": 0.03,
    "bad_gateway": 0.02,
    "drop_before": 0.02,
    "drop_inside": 0.02,
    "garbled": 0.01,
    "empty": 0.01,
    "no_choices": 0.01,
    "error_in_200": 0.005,
    "stall": 0.0005,
    "stall_inside": 0.0005,
    "overloaded": 0.00001,
    "rate_rpm": 0.00001,
    **dict.fromkeys(DIALECTS, 0.004),
    **dict.fromkeys(ERRORS, 0.001),
}
HIDES_CACHED = {"like_gemini", "like_sglang"}  # their usage does not tell it
MOST_CUT_BY_A_KILL = 20  # whole streams whose usage alone was still to come
# The answer breaks off before it says what it is billed.
UNTOLD = {"drop_inside", "stall_inside", "garbled", "error_in_200"}
EVENTS = ("server", "freeze", "kill", "server", "freeze", "terminate")
ARKBATCH = [sys.executable, "-m", "arkbatch.cli"]
ACCESS_KEY, SECRET_KEY = "AKLT-of-the-soak-test", "secret-of-the-soak-test"
SECRETS = (ACCESS_KEY, SECRET_KEY, "sim-temporary-")
STEADY = 1.8  # times the rate that would do, for what faults and events take


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.05, help="mean seconds to an answer")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="arkbatch-soak-") as folder:
        soak = Soak(Path(folder), asked)
        soak.work()
        print("\n".join(soak.report()), flush=True)


class Soak:
    """One input, one run directory, and the processes that come and go."""

    def __init__(self, folder, asked):
        self.folder, self.asked = folder, asked
        self.every = max(20.0, asked.minutes * 60 / 40)  # seconds from one event to the next
        self.port, self.simulator, self.run = 0, None, None
        self.peak = self.files = 0
        self.codes, self.done, self.again = Counter(), Counter(), 0
        self.progress = Lines(folder / "in.run")
        self.began = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.began

    def work(self):
        write_input(self.folder / "in.jsonl", self.asked.rows)
        self.err = (self.folder / "err.txt").open("w")
        self.out = (self.folder / "out.txt").open("w")
        self.serve()
        try:
            self.start()
            events, due = itertools.cycle(EVENTS), self.every
            while not self.is_over():
                if self.seconds > due and self.seconds < self.asked.minutes * 60:
                    event = next(events)
                    getattr(self, event)()
                    self.done[event] += 1
                    due = self.seconds + self.every
        finally:
            for process in (self.run, self.simulator):
                process.kill()
                process.wait()

    def is_over(self):
        """Look on for a moment; whether the run finished by itself. One that was ended is started again."""
        code = self.run.poll()
        if code is None:
            self.files, self.peak = max(self.files, open_files(self.run.pid)), max(self.peak, memory(self.run.pid))
            time.sleep(0.25)
            return False
        self.codes[code] += 1
        if code in {130, -signal.SIGKILL}:
            self.start()
        elif code == 3 and not self.again:
            self.again = self.progress.count_failures()
            self.retry()
        else:
            return True
        return False

    # ---- processes

    def start(self):
        """The run, from its beginning or from where it ended."""
        left = max(self.asked.rows - self.progress.count(), 1)
        minutes = max(self.asked.minutes - self.seconds / 60, 0.5)
        self.launch("run", "in.jsonl", "--rpm", f"{left / minutes * STEADY:.0f}", "--mixed")

    def retry(self):
        self.launch("retry", "in.run")

    def launch(self, *words):
        command = [*ARKBATCH, *words, "--model", "ep-soak", "--base-url", f"{self.url}/api/v3", "--json"]
        command += ["--concurrency", str(self.asked.concurrency), "--set", "max_tokens=16"]
        command += ["--max-attempts", "20", "--timeout", "5"]
        env = os.environ | {
            "VOLC_ACCESSKEY": ACCESS_KEY,
            "VOLC_SECRETKEY": SECRET_KEY,
            "ARK_CONTROL_PLANE": self.url,
            "ARK_BASE_URL": f"{self.url}/api/v3",
            "NO_PROXY": "127.0.0.1",
        }
        self.run = subprocess.Popen(command, cwd=self.folder, env=env, stdout=self.out, stderr=self.err)

    def serve(self):
        faults = [word for name, rate in FAULTS.items() for word in ("--fault", f"{name}={rate}")]
        how = ["--port", str(self.port), "--latency", str(self.asked.latency), "--key-seconds", "300"]
        how += ["--access-key", f"{ACCESS_KEY}:{SECRET_KEY}", "--bill", str(self.folder / "bill.jsonl")]
        command = [*ARKBATCH, "simulate", *how, *faults]
        self.simulator = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.url = self.simulator.stderr.readline().split(" at ")[1].split("/api/v3")[0]
        self.port = int(self.url.rpartition(":")[2])

    # ---- events

    def server(self):
        self.simulator.kill()
        self.simulator.communicate()
        time.sleep(2)
        self.serve()

    def freeze(self):
        self.run.send_signal(signal.SIGSTOP)
        time.sleep(5)
        self.run.send_signal(signal.SIGCONT)

    def kill(self):
        self.run.kill()
        self.run.wait()

    def terminate(self):
        self.run.terminate()
        self.run.wait()

    # ---- what came of it

    def report(self):
        rows, seconds = self.asked.rows, self.seconds
        found = Records(self.folder / "in.run", rows, read_bill(self.folder / "bill.jsonl"))
        counted = json.loads((self.folder / "in.run" / "usage.json").read_text())["usage"]
        events = ", ".join(f"{count} {name}" for name, count in sorted(self.done.items()))
        yield f"exit codes {dict(self.codes)}, {seconds:.0f} s, {rows / seconds:.0f} rows a second; events: {events}"
        yield (
            f"{found.rows:,} of {rows:,} rows recorded, {found.doubled} duplicates, {rows - found.rows} losses, "
            f"{found.failed} failures ({self.again} rows sent by retry)"
        )
        yield f"usage {'equals' if found.usage == Counter(counted) else 'DIFFERS FROM'} what the records add up to"
        yield from found.bills.report(self.done["server"])
        yield f"{found.calls:,} calls, {found.calls / rows - 1:.1%} of them again"
        yield f"peak memory {self.peak} MiB, at most {self.files} open files"
        leaks = [path.name for path in sorted(self.folder.rglob("*")) if path.is_file() and holds(path, SECRETS)]
        yield f"keys in {len(leaks)} files{': ' if leaks else ''}{', '.join(leaks)}"


class Lines:
    """How many records there are, without reading any twice."""

    def __init__(self, run_dir):
        self.places = {run_dir / name: [0, 0] for name in ("results.jsonl", "failures.jsonl")}

    def count(self):
        for path, place in self.places.items():
            if path.exists():
                with path.open("rb") as file:
                    file.seek(place[0])
                    while block := file.read(1 << 20):
                        place[0] += len(block)
                        place[1] += block.count(b"\n")
        return sum(lines for _, lines in self.places.values())

    def count_failures(self):
        self.count()
        return next(lines for path, (_, lines) in self.places.items() if path.name == "failures.jsonl")


class Records:
    """What the files of a run add up to."""

    def __init__(self, run_dir, rows, bill=None):
        seen, self.usage, self.bills = bytearray(rows + 1), Counter(), BillsByDialect(bill or {})
        self.doubled = self.failed = self.calls = 0
        for name in ("results.jsonl", "failures.jsonl"):
            with (run_dir / name).open("rb") as lines:
                for line in map(json.loads, lines):
                    self.doubled += seen[line["row"]]
                    seen[line["row"]] = 1
                    self.failed += line["error"] is not None
                    self.calls += line["attempts"]
                    self.usage.update(line["usage"])
                    self.bills.add(line)
        self.rows = sum(seen)


class BillsByDialect:
    """What the simulator billed beside what the records count, call by call."""

    def __init__(self, bill):
        self.bill, self.same, self.other, self.untold, self.tokens = bill, Counter(), Counter(), 0, Counter()
        self.example, self.unsaid = "", 0

    def add(self, line):
        *earlier, last = line["calls"]
        # What a row had billed when an earlier session ended stands in its usage, and in the line of that session.
        others = Counter(line.get("discarded", {}))
        for part in line.get("before", ()):
            others.update(part["usage"])
        kept = {meter: count - others[meter] for meter, count in line["usage"].items()}
        for call, counted in [*((call, call.get("tokens", {})) for call in earlier), (last, kept)]:
            if (billed := self.bill.pop(call.get("request_id", ""), None)) is not None:
                self.compare(call, *billed, counted)

    def compare(self, call, fault, billed, counted):
        # A server that is killed cuts the streams that it is at work on, whatever their fault.
        if not counted and (fault in UNTOLD or call["verdict"] in ("connection", "timeout")):
            self.untold += 1
            return
        # All of a stream but its last chunk came before the kill; its finish reason may say that it broke off.
        if not counted and call["verdict"] in ("done", "bad_reply"):
            self.unsaid += 1
            return
        meters = ("input", "output") if fault in HIDES_CACHED else ("input", "output", "cached")
        is_same = all(counted.get(meter, 0) == billed[meter] for meter in meters)
        (self.same if is_same else self.other)[fault] += 1
        if not is_same and not self.example:
            self.example = f"{call} was billed {billed} and counted {counted}"
        self.tokens[fault] += billed["input"] + billed["output"]

    def report(self, kills):
        for fault in sorted(self.same | self.other):
            said = f"counted otherwise in {self.other[fault]}" if self.other[fault] else "counted the same"
            answers = self.same[fault] + self.other[fault]
            yield f"  {fault or 'no fault':17}{answers:>9,} answers, {self.tokens[fault]:>13,} tokens billed, {said}"
        if self.example:
            yield f"  for example: {self.example}"
        is_odd = self.unsaid > MOST_CUT_BY_A_KILL * kills  # then a dialect's usage is not read
        verdict = "DIFFERS FROM" if self.other or is_odd else "equals"
        yield f"usage {verdict} what the simulator billed, in {len(self.same | self.other)} kinds of answers"
        lost = self.untold + self.unsaid + len(self.bill)
        yield (
            f"{lost:,} answers that were billed did not arrive whole, so nothing told their usage; of {self.unsaid:,} "
            f"answers only the usage is lacking (up to {MOST_CUT_BY_A_KILL * kills:,} where the server is killed)"
        )


def read_bill(path):
    """What was billed, by request id: the fault and the tokens."""
    with path.open() as lines:
        return {line.pop("id"): (line.pop("fault"), line) for line in map(json.loads, lines)}


def write_input(path, rows):
    """Every second row is streamed, every eighth has a beginning that the simulator caches."""
    system = "Answer in one sentence, and name what is not certain. " * 25
    with path.open("w") as file:
        for number in range(1, rows + 1):
            row = {"custom_id": f"r{number}", "prompt": f"question {number}"}
            if number % 8 == 1:
                row["system"] = system
            if number % 2:
                row |= {"stream": True, "stream_options": {"include_usage": True}}
            file.write(json.dumps(row) + "\n")


def holds(path, words):
    """Whether one of the words stands in a file of any size."""
    words, rest = [word.encode() for word in words], b""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if any(word in rest + block for word in words):
                return True
            rest = block[-100:]
    return False


def open_files(pid):
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has just ended
        return 0


def memory(pid):
    """Peak MiB so far."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in text.splitlines() if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    main()
