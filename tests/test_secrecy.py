"""Keys and prompts do not leave in clear, and what a server says cannot drive the terminal."""

import io

import pytest
from nights import job_for, night
from runs import prompts

from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import UsageError
from arkbatch.monitor.progress_bar import ProgressLines

VARIABLES = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "http://other.example/v1"}


def address(tmp_path, url, **flags):
    prompts(tmp_path, {"prompt": "a"})
    variables = VARIABLES | {"OPENAI_BASE_URL": url}
    return resolve_job("in.jsonl", {"model": "m", "base_url": url, **flags}, variables, tmp_path).base_url


def test_http_to_another_machine_is_refused_unless_it_is_meant(tmp_path):
    with pytest.raises(UsageError, match="unencrypted: write https://, or say --insecure"):
        address(tmp_path, "http://other.example/v1")
    assert address(tmp_path, "http://other.example/v1", insecure=True) == "http://other.example/v1"


@pytest.mark.parametrize("host", ["127.0.0.1.other.example", "127.other.example", "localhost.other.example"])
def test_a_name_that_looks_like_this_machine_is_another_one(tmp_path, host):
    with pytest.raises(UsageError, match="--insecure"):
        address(tmp_path, f"http://{host}/v1")


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/v1",
        "http://127.0.0.1:8000/v1",
        "http://127.1.2.3/v1",
        "http://[::1]/v1",
        "http://localhost/v1",
    ],
)
def test_https_and_this_machine_need_no_word(tmp_path, url):
    assert address(tmp_path, url) == url


def test_control_characters_are_made_visible_where_progress_is_printed():
    out = io.StringIO()
    ProgressLines(out).noted("the service is away: \x1b]0;owned\x07")
    assert out.getvalue() == "The service is away: \\x1b]0;owned\\x07.\n"


def test_a_run_says_what_it_waits_for_without_the_key(tmp_path):
    summary, _ = night(job_for(tmp_path, 3))
    assert summary.succeeded == 3
    for path in (tmp_path / "a.run").iterdir():
        assert b"the-secret-key-of-the-test" not in path.read_bytes()
