"""One row read from a line, with a job that says nothing special."""

import orjson

from arkbatch.core.job import Job
from arkbatch.core.secret import Secret
from arkbatch.rows.parse import RowReader

ASK = [{"role": "user", "content": "hi"}]


def job(**changes):
    values = {"input": "in.jsonl", "run_dir": "r", "endpoint": "chat", "model": "doubao", "base_url": "http://x/v1"}
    return Job(**(values | {"api_key": Secret("k")} | changes))


def read(value, number=7, **changes):
    line = value if isinstance(value, bytes) else orjson.dumps(value)
    return RowReader(job(**changes)).read_row(number, 100, line)
