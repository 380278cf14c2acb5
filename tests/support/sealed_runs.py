"""Whole encrypted runs with a tap on the wire."""

import base64
import json

from msgspec.structs import replace
from runs import prompts
from virtual import run_virtual
from wiretap import Tap

from arkbatch.api.jobs import arun
from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import Halted
from arkbatch.simulator.server import Settings, serve

SECRET = "heliotrope"
EP = "ep-20260101000000-abcde"
BATCH = "ep-bi-20260101000000-abcde"
ROW = {"prompt": f"Say nothing of {SECRET}.", "system": f"{SECRET} is a word"}
IMAGE = f"data:image/png;base64,{base64.b64encode(SECRET.encode() * 3).decode()}"


def secrets(number=0, **more):
    """A row with the secret in every place that is encrypted."""
    parts = [{"type": "text", "text": f"绝密 {SECRET}"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": SECRET},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": f"{SECRET}!", "tool_calls": [call]},
        {"role": "tool", "content": f"绝密{SECRET}绝密", "tool_call_id": "c"},
        {"role": "user", "content": f"{SECRET} {number}?"},
    ]
    return {"messages": messages, **more}


def traces():
    """What would show in the bytes if anything of the secret left in clear, or only disguised."""
    shifted = [base64.b64encode(b" " * by + SECRET.encode())[by + 1 : -4] for by in range(3)]
    return [SECRET.encode(), "绝密".encode(), json.dumps("绝密").encode()[1:-1], *shifted]


def leaked(heard):
    return [trace for trace in traces() if trace in heard]


def ran(folder, *rows, environ=(), settings=(), counters=None, patience=600.0, **flags):
    """The summary of an encrypted run, and all that left for the server."""
    tap = Tap()

    async def main():
        path = prompts(folder, *(rows or (ROW,)))
        async with serve(Settings(**dict(settings)), counters=counters) as direct, tap.on(direct) as url:
            environment = {"ARK_CONTROL_PLANE": url.removesuffix("/api/v3"), **dict(environ)}
            given = {"model": EP, "base_url": url, "encrypt": True, "max_attempts": 2, "allow_empty": True, **flags}
            job = resolve_job(str(path), given, environment, folder)
            try:
                return await arun(replace(job, retry=replace(job.retry, patience=patience)))
            except Halted as halted:
                if halted.summary is None:
                    raise
                return halted.summary

    summary = run_virtual(main())
    return summary, bytes(tap.raw)
