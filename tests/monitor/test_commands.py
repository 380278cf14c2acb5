"""The words of `arkbatch ctl`, and the lines that carry them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.errors import UsageError
from arkbatch.monitor.commands import (
    LONGEST,
    VERSION,
    Command,
    CommandReply,
    Drain,
    Pause,
    Resume,
    SessionState,
    SetLimits,
    ShowStatus,
    decode_command,
    decode_reply,
    encode_line,
    parse_command,
)


@pytest.mark.parametrize(
    ("line", "deed"),
    [
        ("pause", Pause()),
        ("resume", Resume()),
        ("drain", Drain()),
        ("status", ShowStatus()),
        ("set rpm=600", SetLimits(rpm=600.0)),
        ("set tpm=2e6 concurrency=1_000", SetLimits(tpm=2e6, concurrency=1000)),
        ("set rpm=none", SetLimits(rpm=None)),
        ("set input_tpm=1e6 output_tpm=none", SetLimits(input_tpm=1e6, output_tpm=None)),
        ("set max_cost=2.5", SetLimits(max_cost=2.5)),
    ],
)
def test_a_command_line_becomes_an_order(line, deed):
    action, *words = line.split()
    assert parse_command(action, words, "why") == Command(VERSION, deed, "why")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("paus", "paus is not a command. Did you mean pause? Commands are: pause, resume,"),
        ("pause now", "pause takes nothing behind it, and there is now."),
        ("set", "set what? For example: set rpm=600 concurrency=40"),
        ("set concurency=4", "concurency cannot be set. Did you mean concurrency? Known are: concurrency, rpm, tpm, "),
        ("set rpm", "rpm needs a value: rpm=600"),
        ("set rpm=", "rpm needs a value"),
        ("set rpm=1 rpm=2", "rpm is set twice."),
        ("set rpm=0", "rpm=0 is not allowed: it must be a number above 0, or none."),
        ("set rpm=fast", "rpm=fast is not allowed"),
        ("set rpm=nan", "rpm=nan is not allowed"),
        ("set tpm=inf", "tpm=inf is not allowed"),
        ("set concurrency=2.5", "concurrency=2.5 is not allowed: it must be a whole number from 1 to 100,000."),
        ("set concurrency=none", "concurrency=none is not allowed"),
        ("set output_tpm=-1", "output_tpm=-1 is not allowed: it must be a number above 0, or none."),
        ("set max_cost=none", "max_cost=none is not allowed: it must be a number above 0."),
        ("set max_cost", "max_cost needs a value: max_cost=50"),
    ],
)
def test_a_wrong_order_is_told_with_what_is_allowed(line, said):
    action, *words = line.split()
    with pytest.raises(UsageError) as caught:
        parse_command(action, words)
    assert str(caught.value).startswith(said)


def test_a_reason_is_bounded():
    with pytest.raises(UsageError, match="501 characters"):
        parse_command("pause", [], "x" * 501)


@pytest.mark.parametrize("deed", [Pause(), ShowStatus(), SetLimits(rpm=None), SetLimits(concurrency=3, tpm=5.0)])
def test_an_order_survives_its_line(deed):
    order = Command(VERSION, deed, "because\nof \x1b[31mthis")
    line = encode_line(order)
    assert line.index(b"\n") == len(line) - 1
    assert decode_command(line) == order


def test_an_answer_survives_its_line():
    state = SessionState(
        1, False, {"paused": "2026-01-01T00:00:00+00:00"}, {"rpm": 5.0}, {}, 3, 1.0, 2.0, 10, 1, "a pause"
    )
    assert decode_reply(encode_line(CommandReply(VERSION, "paused", state=state))) == CommandReply(
        VERSION, "paused", state=state
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"v":2,"do":{"type":"pause"}}', "version 2 of the commands, the other side 1"),
        (b'{"do":{"type":"pause"}}', "version None"),
        (b'{"v":1,"do":{"type":"fly"}}', "This is not a command"),
        (b'{"v":1,"do":{"type":"set","rpm":-1}}', "This is not a command"),
        (b'{"v":1,"do":{"type":"set","rmp":1}}', "This is not a command"),
        (b'{"v":1,"do":{"type":"requeue"}}', "This is not a command"),
        (b"[" * LONGEST, "not one JSON object"),
        (b'{"v":' + b"[" * LONGEST, "not one JSON object"),
    ],
)
def test_a_line_that_is_no_command_is_refused(line, said):
    with pytest.raises(UsageError, match=said):
        decode_command(line)


@given(line=st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(line):
    for decode in (decode_command, decode_reply):
        with pytest.raises(UsageError):
            decode(line)
