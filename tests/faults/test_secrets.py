"""No key in anything that a run with every fault leaves behind, prints or shows, in clear or in base64."""

import asyncio
import base64
import json

import pytest
from processes import arkbatch, environment, size, started, until
from processes import serving as served_by
from runs import numbered, prompts
from simulator_process import simulator_process as serving

from arkbatch.simulator.faults import MENU

API_KEY = "sk-9d1f-the-api-key-of-this-test"
ACCESS_KEY, SECRET_KEY = "AKLT-the-access-key-of-this-test", "the-secret-key-of-this-test=="
TEMPORARY = "sim-temporary-"  # begins each key that the simulator hands out
HALTING = {"unauthorized", "overdue", "not_open", "free_quota", "set_limit"}
PACED = {"rate_rpm", "rate_tpm", "overloaded", "overloaded_wait", "burst", "inflight", "overloaded_in_200"}


def forms(secret):
    """As it is, and the part of its base64 that is the same wherever it stands in a longer text."""
    raw = secret.encode()
    yield raw
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[4 if shift else 0 : len(coded) - 4]


def holds_none(where, secrets):
    """where: bytes by a name for them."""
    every = [(secret, form) for secret in secrets for form in forms(secret)]
    found = [(name, secret) for name, data in where.items() for secret, form in every if form in data]
    assert found == []


def files(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def looked_at(folder, rows):
    """What every command says of the run."""
    said = {}
    looks = [("status",), ("status", "--json"), ("cost",), ("cost", "--json"), ("report",)]
    looks += [("show", row, *more) for row in rows for more in [(), ("--json",)]]
    for name, *more in looks:
        done = arkbatch(name, "a.run", *more, cwd=folder)
        assert done.returncode == 0, done.stderr
        said[f"{name} {more}"] = done.stdout + done.stderr
    return said


def test_an_access_key_its_secret_and_the_temporary_keys_stay_secret_through_every_fault(tmp_path):
    stalls = {"stall", "stall_inside"}
    names = [name for name in MENU if name not in HALTING | PACED]
    faults = [f"{name}={0.005 if name in stalls else 0.8 / len(names):.3f}" for name in names]
    words = [word for fault in faults for word in ("--fault", fault)]
    marked = ["[[fault:rate_rpm:1]]", "[[fault:overloaded:1]]", "[[fault:refuse]]", "[[fault:unauthorized]]"]
    prompts(tmp_path, *numbered(150), *({"prompt": text} for text in marked))
    with serving(0, "--access-key", f"{ACCESS_KEY}:{SECRET_KEY}", "--key-seconds", 3, *words) as url:
        keys = {"VOLC_ACCESSKEY": ACCESS_KEY, "VOLC_SECRETKEY": SECRET_KEY}
        env = environment(**keys, ARK_BASE_URL=url, ARK_CONTROL_PLANE=url.removesuffix("/api/v3"))
        command = ("run", "in.jsonl", "-o", "a.run", "--model", "ep-1", "--timeout", 1, "--concurrency", 32)
        process = started(*command, cwd=tmp_path, env=env)
        until(lambda: size(tmp_path / "a.run" / "run.log") > 0 or process.poll() is not None)
        with open(f"/proc/{process.pid}/cmdline", "rb") as shown:
            listed = shown.read()
        out, err = process.communicate(timeout=100)
    assert process.returncode in {3, 4}, err.decode()
    where = {"stdout": out, "stderr": err, "process list": listed} | looked_at(tmp_path, [1, 153]) | files(tmp_path)
    assert sum(len(data) for data in where.values()) > 100_000
    holds_none(where, [ACCESS_KEY, SECRET_KEY, TEMPORARY])


class Echo:
    """A server, or a proxy before it, that says in every answer what it was sent; `None` breaks off HTTP for it."""

    def __init__(self, status, content):
        self.status, self.content = status, content

    async def __call__(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            said = {"error": {"code": "Odd", "message": f"you sent {head.decode('latin-1')}"}}
            body = json.dumps(said).encode() if self.content == "json" else b"<pre>" + head
            start = b"" if self.status is None else b"HTTP/1.1 %d Odd\r\nContent-Length: %d\r\n\r\n"
            writer.write(start % (self.status, len(body)) + body if start else head.split(b"\r\n")[-3] + b"\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.mark.parametrize(("status", "content"), [(200, "json"), (200, "html"), (401, "json"), (None, "")])
def test_a_server_that_repeats_the_key_in_its_answer_does_not_get_it_written_down(tmp_path, status, content):
    prompts(tmp_path, *numbered(2))
    with served_by(Echo(status, content)) as url:
        env = {"OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": url}
        command = ("run", "in.jsonl", "--model", "m", "-o", "a.run", "--max-attempts", 1, "--give-up-after", "1s")
        done = arkbatch(*command, cwd=tmp_path, env=env)
    assert done.returncode in {3, 4}, done.stderr
    holds_none({"stdout": done.stdout, "stderr": done.stderr} | files(tmp_path), [API_KEY])
