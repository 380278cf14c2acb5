"""What a server says cannot drive the terminal on which a run shows how it goes on; a real process on a real terminal."""

import json
import os
import pty
import subprocess

import pytest
from processes import arguments, environment, serving
from runs import numbered, prompts

EVIL = "e\x1b[31m\x1b]0;owned\x07\x9b2J\u202e\rF"
MARKS = ["\x1b[31m", "\x1b]", "\x07", "\x9b", "\u202e", "\rF"]
ERROR = {"error": {"code": EVIL, "message": EVIL, "type": EVIL, "param": EVIL}}
MESSAGE = {"role": "assistant", "content": EVIL, "reasoning_content": EVIL}
ANSWER = {
    "id": EVIL,
    "model": EVIL,
    "service_tier": EVIL,
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": EVIL}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


class Evil:
    """Gives these answers in turn, the last one for ever, with a head that is no better."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def __call__(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                status, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                body = json.dumps(said, ensure_ascii=False).encode()
                head = f"HTTP/1.1 {status} Od\x1b[31md\r\nContent-Length: {len(body)}\r\nx-request-id: i\x9b31m\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()


def on_a_terminal(folder, url, *words):
    """Exit code, and all that the terminal was sent."""
    ours, theirs = pty.openpty()
    env = environment(OPENAI_API_KEY="sk-of-this-test", OPENAI_BASE_URL=url, TERM="xterm")
    process = subprocess.Popen(arguments(*words), cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    sent = b""
    try:
        while part := os.read(ours, 65_536):
            sent += part
    except OSError:  # nobody is at the other end any more
        pass
    os.close(ours)
    return process.wait(30), sent.decode()


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([(500, ERROR), (400, ERROR), (200, ERROR), (429, ERROR), (200, ANSWER)], 3),
        ([(401, ERROR)], 4),
        ([(500, ERROR)], 4),
    ],
    ids=["mixed", "halted", "away"],
)
def test_what_a_server_says_is_made_visible_while_a_run_goes_on_and_at_its_end(tmp_path, answers, code):
    prompts(tmp_path, *numbered(6))
    with serving(Evil(*answers)) as url:
        words = ("run", "in.jsonl", "-o", "a.run", "--model", "m", "--concurrency", 3, "--max-attempts", 1)
        ended, sent = on_a_terminal(tmp_path, url, *words, "--give-up-after", "1s", "--base-url", url)
    assert ended == code, sent
    assert [mark for mark in MARKS if mark in sent] == []
    log = (tmp_path / "a.run" / "run.log").read_text()
    assert [mark for mark in MARKS if mark in log] == []
    if code == 4:
        assert "\\x1b]0;owned" in sent
