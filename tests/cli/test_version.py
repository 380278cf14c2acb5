"""`arkbatch --version` says which path calls take with the aiohttp that is installed."""

from click.testing import CliRunner
from http_paths import by_session

from arkbatch.cli import arkbatch


def shown():
    return CliRunner().invoke(arkbatch, ["--version"]).output


def test_the_version_says_that_calls_go_directly():
    assert "calls go on its connections directly" in shown()


def test_the_version_says_why_calls_go_through_the_session(monkeypatch):
    by_session(monkeypatch)
    assert "calls go through its session, which is slower (switched off by a test)" in shown()
