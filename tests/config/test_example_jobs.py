"""The example jobs: they resolve, every row can be sent, and the schema that they name is up to date."""

import re
from pathlib import Path

import msgspec
import pytest

from arkbatch.config.job_file import job_file_schema
from arkbatch.config.resolve import resolve_job
from arkbatch.core.row import Row
from arkbatch.protocol.endpoints.batch_lane import online_name
from arkbatch.rows.parse import RowReader

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.toml"))


def rows(file):
    job = resolve_job(str(file), {}, {"ARK_API_KEY": "k"}, ROOT)
    reader = RowReader(job)
    lines = Path(job.input).read_bytes().splitlines()
    return job, [reader.read_row(number, 0, line) for number, line in enumerate(lines, 1)]


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_each_example_resolves_and_each_of_its_rows_can_be_sent(file):
    job, found = rows(file)
    assert [row for row in found if not isinstance(row, Row)] == []
    assert {online_name(row.endpoint) for row in found} == {job.endpoint}
    assert len({row.custom_id for row in found}) == len(found)


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_each_example_begins_with_its_schema_and_says_how_to_run_it(file):
    text = file.read_text(encoding="utf-8")
    named = re.match(r"#:schema (\S+)\n", text)
    assert (file.parent / named[1]).resolve() == ROOT / "arkbatch/job.schema.json"
    assert f"arkbatch run jobs/{file.name} --simulate" in text


def test_the_quickstart_is_worth_running():
    """Some hundred prompts, no two alike, in both languages, in three of the forms."""
    _, found = rows(ROOT / "jobs/quickstart.toml")
    texts = [row.body["messages"][-1]["content"] for row in found]
    chinese = [text for text in texts if re.search("[\u4e00-\u9fff]", text)]
    assert 200 <= len(set(texts)) == len(texts) <= 300
    assert len(chinese) > 80 < len(texts) - len(chinese)
    lines = (ROOT / "jobs/quickstart.jsonl").read_bytes().splitlines()
    forms = [{"prompt", "messages", "body"} & set(msgspec.json.decode(line)) for line in lines]
    assert {form.pop() for form in forms} == {"prompt", "messages", "body"}


def test_the_schema_that_ships_is_the_one_that_the_code_means():
    """Renew it with `python -m arkbatch.config.job_file > arkbatch/job.schema.json`."""
    assert (ROOT / "arkbatch/job.schema.json").read_bytes() == job_file_schema()


def test_the_example_of_an_environment_file_is_the_one_that_init_writes():
    starter = ROOT / "arkbatch/cli/starter/env.example"
    assert (ROOT / ".env.example").read_bytes() == starter.read_bytes()


def test_the_example_of_an_environment_file_sets_nothing():
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.findall(r"^(?!#)(\w+)=(.*)$", text, re.MULTILINE) == [("ARK_API_KEY", "")]


@pytest.mark.parametrize(
    ("value", "is_right"), [("5m", True), (1.5, True), ("1h30m", True), ("soon", False), (0, False)]
)
def test_the_schema_takes_durations_as_a_job_file_does(value, is_right):
    jsonschema = pytest.importorskip("jsonschema")
    schema = msgspec.json.decode(job_file_schema())
    found = list(jsonschema.Draft202012Validator(schema).iter_errors({"timeouts": {"read": value}}))
    assert (not found) is is_right
