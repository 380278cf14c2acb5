import io
import os
import struct
from pathlib import Path

import pytest
from builders import failure, row, success

from arkbatch.core.calls import Again, Cause, Kind, Scope
from arkbatch.core.outcomes import Attempt
from arkbatch.core.text import display_width
from arkbatch.monitor.observer import Observer, ObserverGroup
from arkbatch.monitor.progress import FoundRows, Progress, rows_text
from arkbatch.monitor.progress_bar import ProgressBar, ProgressLines, fit_parts, progress_figures, progress_text
from arkbatch.monitor.run_log import RunLog

LOOK = {"total": 1_000, "left": 600, "failed": 0, "in_flight": 32, "retried": 0, "recorded": 400, "seconds": 60.0}
LOOK |= {"rows_per_minute": 400.0, "rpm": 400.0, "tpm": 123_456.0}
FOUND = FoundRows("r", done=1, failed=2, left=3, to_send=3, total=6, fresh=False, changes=("model: a -> b",))


def look(**changes):
    return Progress(**(LOOK | changes))


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self, now=600.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, "1 min 30 s left, 32 in flight, 400 req/min, 123k tok/min"),
        ({"failed": 3}, "3 failed, "),
        ({"retried": 1}, "1 retry, "),
        ({"retried": 7}, "7 retries, "),
        ({"rpm_limit": 500.0, "tpm_limit": 2e6}, "400/500 req/min, 123k/2M tok/min"),
        ({"bound_by": "the input"}, ", limited by the input"),
        ({"bound_by": "x", "waiting": "paused since 14:02 UTC"}, "paused since 14:02 UTC, 32 in flight"),
    ],
)
def test_the_figures_beside_the_bar(changes, part):
    assert part in progress_text(look(**changes))


@pytest.mark.parametrize("columns", [12, 60, 80, 120])
def test_no_figure_is_cut_and_the_most_wanted_come_first(columns):
    parts = [*progress_figures(look(failed=3, cost="0.12 CNY", bound_by="请求频率上限")), "x" * 200]
    line = fit_parts(parts, columns)
    assert display_width(line) <= columns
    assert set(line.split(", ")) <= {*parts, ""}
    if columns >= 60:
        assert line.startswith("1 min 30 s left, 3 failed, 0.12 CNY")


def test_nothing_is_guessed_of_the_time_left_before_the_first_row():
    assert "left" not in progress_text(look(recorded=0, rows_per_minute=0.0))


def test_a_bar_fills_and_keeps_to_one_line_of_the_terminal():
    import fcntl
    import pty
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with os.fdopen(follower, "w") as terminal:
        bar = ProgressBar(terminal)
        bar.progressed(look())
        bar.progressed(look(left=0, bound_by="the server (it answered 429 and we hold at 20 a second)"))
        bar.closed("finished")
        printed = b""
        while b"1,000/1,000 rows" not in printed:  # a busy machine brings it in parts
            printed += os.read(leader, 65_536)
    os.close(leader)
    printed = printed.decode()
    assert " 40%" in printed
    assert "100%" in printed
    assert "1,000/1,000 rows" in printed
    assert max(display_width(line) for part in printed.split("\n") for line in part.split("\r")) <= 60


def test_a_stop_is_told_above_the_bar():
    stream = Terminal()
    bar = ProgressBar(stream)
    bar.progressed(look())
    bar.stopping(1)
    bar.stopping(32)
    bar.closed("stopped")
    assert "waiting for 1 call in flight. Ctrl-C again abandons it." in stream.getvalue()
    assert "waiting for 32 calls in flight. Ctrl-C again abandons them." in stream.getvalue()


def test_a_bar_that_never_stood_can_be_closed():
    ProgressBar(Terminal()).closed("finished")


def test_without_a_terminal_there_is_a_line_a_minute():
    stream = io.StringIO()
    lines = ProgressLines(stream)
    for half_seconds in range(1, 500):
        lines.progressed(look(seconds=half_seconds / 2, rows_per_minute=0.0))
    assert stream.getvalue().splitlines() == ["400/1,000 rows, 32 in flight, 400 req/min, 123k tok/min"] * 4


def test_several_pass_everything_on_to_each():
    heard = []

    class Hears(Observer):
        def __getattribute__(self, name):
            return (lambda *_: heard.append(name)) if not name.startswith("_") else super().__getattribute__(name)

    several = ObserverGroup([Hears(), Hears()])
    names = [name for name in vars(Observer) if not name.startswith("_")]
    for name in names:
        getattr(several, name)(*[None] * (getattr(Observer, name).__code__.co_argcount - 1))
    assert heard == [name for name in names for _ in range(2)]


def logged(path, tell, clock=None):
    with RunLog(path, clock or Clock()) as log:
        tell(log)
    return path.read_text().splitlines()


def test_the_log_says_what_went_wrong_with_its_ids(tmp_path):
    def tell(log):
        log.opened(FOUND)
        log.retrying(row(7), "run-1-7-1", Again(Cause(Kind.TIMEOUT, "timeout", "no answer")), 1.5)
        log.recorded(failure(7, calls=[Attempt("run-1-7-2", "timeout", 1.0, request_id="021")]))
        log.recorded(success(8))
        log.stopping(2)
        log.halted(Cause(Kind.AUTH, "401", "bad key", "Fix the key"))
        log.closed("halted")

    lines = logged(tmp_path / "run.log", tell)
    assert all(line.startswith("1970-01-01T00:10:00.000+00:00 ") for line in lines)
    assert [line.split(" ", 1)[1] for line in lines] == [
        "session begins: 1 done, 2 failed, 3 to send",
        "changed: model: a -> b",
        "row 7 again in 1.5 s: timeout timeout no answer id=run-1-7-1",
        "row 7 failed: timeout it failed id=run-1-7-2 request_id=021",
        "stop asked for; 2 calls in flight",
        "halted: bad key (auth 401). Fix the key",
        "session ends: halted",
    ]


def test_a_message_over_several_lines_is_one_line(tmp_path):
    lines = logged(tmp_path / "run.log", lambda log: log.halted(Cause(Kind.AUTH, "", "a\nb\r\n\x1b c", "d")))
    assert len(lines) == 1


def test_neither_prompt_nor_answer_is_logged(tmp_path):
    def tell(log):
        log.recorded(success(1))
        log.recorded(failure(2))
        log.retrying(row(3), "id", Again(Cause(Kind.TIMEOUT, "", "")), 1.0)

    text = "\n".join(logged(tmp_path / "run.log", tell))
    assert "prompt" not in text
    assert "hello" not in text


def test_a_minute_of_errors_is_bounded_and_says_how_many_were_left_out(tmp_path):
    clock = Clock()

    def tell(log):
        for _ in range(10_000):
            log.recorded(failure(1))
        clock.now += 60
        log.recorded(failure(2))

    lines = logged(tmp_path / "run.log", tell, clock)
    assert len(lines) == 202
    assert lines[200].endswith("9800 more lines were left out here")


def test_probes_of_a_service_that_is_away_take_five_lines_an_hour(tmp_path):
    clock, away = Clock(), Again(Cause(Kind.CONNECTION, "connect", "no route"), scope=Scope.SERVICE)

    def tell(log):
        for _ in range(100 * 60):
            log.retrying(row(3), "id", away, 60.0)
            clock.now += 60

    lines = logged(tmp_path / "run.log", tell, clock)
    assert len(lines) <= 101 * 6
    assert sum(line.endswith(" 55 more lines were left out here") for line in lines) > 90


def test_what_a_server_says_cannot_drive_the_terminal_that_shows_the_log(tmp_path):
    [line] = logged(tmp_path / "run.log", lambda log: log.noted("the service is away: \x1b]0;owned\x07"))
    assert line.endswith(r"the service is away: \x1b]0;owned\x07")


def test_the_log_says_a_halt_as_people_read_it(tmp_path):
    cause = Cause(Kind.CONNECTION, "connect", "the service has been away for 5 s", "check the network")
    [line] = logged(tmp_path / "run.log", lambda log: log.halted(cause))
    assert line.endswith(" halted: the service has been away for 5 s (connection connect). Check the network")


def test_what_ends_a_session_is_in_the_log_even_after_a_minute_of_errors(tmp_path):
    def tell(log):
        for _ in range(10_000):
            log.recorded(failure(1))
        log.halted(Cause(Kind.AUTH, "401", "bad key", "Fix the key"))
        log.closed("halted")

    assert [line.split(" ", 1)[1] for line in logged(tmp_path / "run.log", tell)[-3:]] == [
        "9800 more lines were left out here",
        "halted: bad key (auth 401). Fix the key",
        "session ends: halted",
    ]


def test_an_error_that_ends_the_session_is_logged(tmp_path):
    with pytest.raises(ValueError, match="odd"), RunLog(tmp_path / "run.log", Clock()):
        raise ValueError("odd")
    assert "ended by ValueError: odd" in (tmp_path / "run.log").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that Linux has")
def test_a_full_disk_stops_the_log_and_nothing_else(tmp_path):
    (tmp_path / "run.log").symlink_to("/dev/full")
    with RunLog(tmp_path / "run.log", Clock()) as log:
        log.noted("an outage")
        log.closed("finished")


def test_the_log_is_its_owners_only_and_is_added_to(tmp_path):
    for _ in range(2):
        logged(tmp_path / "run.log", lambda log: log.closed("finished"))
    assert len((tmp_path / "run.log").read_text().splitlines()) == 2
    assert (tmp_path / "run.log").stat().st_mode & 0o077 == 0


def test_a_total_that_no_one_has_counted_is_told_as_such():
    assert rows_text(look()) == "400/1,000 rows"
    assert rows_text(look(is_estimated=True)) == "400 of about 1,000 rows"
