"""The real command in a folder of its own, and what must hold after any fault."""

import orjson
from processes import arguments, environment

KEY = "sk-0123456789-the-key-of-the-fault-suite"


ROWS = 40


def words(url, *more):
    return arguments("run", "in.jsonl", "-o", "a.run", "--model", "m", "--base-url", url, "--concurrency", 8, *more)


def env(url):
    return environment(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=url)


def keeps_the_key(folder, printed):
    """In nothing that was printed or left behind; and whatever happens, it is said in words."""
    assert b"Traceback" not in printed, printed.decode()
    assert KEY.encode() not in printed
    for path in folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def each_row_once(folder, rows=ROWS):
    """And what the report counts is what the records add up to."""
    run_dir = folder / "a.run"
    lines = [
        orjson.loads(line)
        for name in ("results.jsonl", "failures.jsonl")
        for line in (run_dir / name).read_bytes().splitlines()
    ]
    assert sorted(line["row"] for line in lines) == list(range(1, rows + 1))
    counted = orjson.loads((run_dir / "usage.json").read_bytes())["usage"]
    assert counted == {meter: sum(line["usage"].get(meter, 0) for line in lines) for meter in counted}
    return [line for line in lines if line["error"]]
