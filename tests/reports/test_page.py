"""The report page is one file that fetches nothing, runs nothing foreign, and says the same as `usage.json`."""

import base64
import hashlib
import re
from importlib.resources import files

import orjson
import pytest
from click.testing import CliRunner
from runs import answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli import arkbatch
from arkbatch.core.calls import Kind
from arkbatch.journal.run_directory import USAGE
from arkbatch.reports.page.page import escape_json, live_policy, render_page

EVIL = "</script><script>window.pwned = 1</script><!--"


def invoked(*args):
    return CliRunner().invoke(arkbatch, list(map(str, args)), standalone_mode=False, catch_exceptions=False)


def page_of(directory):
    invoked("report", directory)
    return (directory / "report.html").read_text(encoding="utf-8")


def shown(html):
    """The data that stands in the page, as a browser would read it."""
    return orjson.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


@pytest.fixture
def evil_run(tmp_path):
    rows = [{"custom_id": EVIL, "prompt": EVIL} for _ in range(4)]
    return worked_off(
        job_of(prompts(tmp_path, *rows)),
        lambda row: failed(row, Kind.BLOCKED, EVIL, EVIL) if row.number % 2 else answered(row),
    )


def test_counts_and_tokens_are_those_of_the_usage_file(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(9)))
    directory = worked_off(job, lambda row: failed(row) if row.number == 3 else answered(row))
    data, usage = shown(page_of(directory)), orjson.loads((directory / USAGE).read_bytes())
    assert data["usage"] == usage["usage"]
    assert data["discarded"] == usage["discarded"]
    assert (data["done"], data["failed"]) == (usage["rows"]["succeeded"], usage["rows"]["failed"])
    assert [each["usage"] for each in data["models"]] == [each["usage"] for each in usage["by_model"]][::-1]


def test_costs_are_those_of_the_usage_file_and_the_chart_ends_there(tmp_path):
    """A model with a known price, and one without."""
    job = job_of(prompts(tmp_path, *numbered(9)))
    names = ["doubao-seed-1-6-251015", "doubao-seed-1-6-251015", "a-model-of-their-own"]
    directory = worked_off(job, lambda row: answered(row, model=names[row.number % 3]))
    data, usage = shown(page_of(directory)), orjson.loads((directory / USAGE).read_bytes())
    assert data["cost"] == usage["cost"]
    assert data["cost"]["unpriced"] == 3
    assert [each["cost"] for each in data["charges"]] == [each["cost"] for each in usage["by_model"]]
    assert data["series"]["cost"]["CNY"][-1] == pytest.approx(float(usage["cost"]["amounts"]["CNY"]), rel=1e-5)


def test_the_endings_of_answers_are_counted(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(3)))
    directory = worked_off(job, lambda row: answered(row, finish_reason="length" if row.number == 2 else "stop"))
    assert shown(page_of(directory))["finish_reasons"] == {"stop": 2, "length": 1}


def test_untrusted_text_cannot_end_the_data_block(evil_run):
    html = page_of(evil_run)
    assert "pwned = 1</script>" not in html
    assert html.count("<script") == 2
    assert shown(html)["last_failures"][0]["prompt"] == EVIL
    assert shown(html)["failures"][0]["sample"] == EVIL


@pytest.mark.parametrize("text", ["<", "</script>", "<!--", "]]>", "&lt;", "\u2028", "{{data}}"])
def test_escaped_json_means_the_same(text):
    written = escape_json(orjson.dumps({"text": text}))
    assert not set("<>&") & set(written)
    assert orjson.loads(written) == {"text": text}


def test_a_name_of_the_template_in_the_data_is_left_alone(tmp_path):
    rows = [{"prompt": "{{script}} {{style}}"}]
    html = page_of(worked_off(job_of(prompts(tmp_path, *rows)), failed))
    assert shown(html)["last_failures"][0]["prompt"] == "{{script}} {{style}}"


def test_the_policy_allows_exactly_our_script_and_style(evil_run):
    html = page_of(evil_run)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    for name, pattern in (("script-src", r"<script>(.*?)</script>"), ("style-src", r"<style>(.*?)</style>")):
        digest = base64.b64encode(hashlib.sha256(re.search(pattern, html, re.DOTALL)[1].encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}';" in policy


def test_the_file_names_no_address_to_fetch(evil_run):
    html = page_of(evil_run)
    assert not re.search(r"""(src|href)=["'](?!data:,)""", html)
    assert not re.search(r"@import|url\(", html)


def test_the_live_page_may_ask_its_own_server_and_no_other():
    assert "connect-src 'self'" in live_policy()
    assert '<script type="application/json" id="data">null</script>' in render_page(None)


def test_only_the_owner_may_read_the_file(evil_run):
    page_of(evil_run)
    assert (evil_run / "report.html").stat().st_mode & 0o077 == 0


def test_the_page_is_small_whatever_the_run_says(tmp_path):
    rows = numbered(400)
    directory = worked_off(
        job_of(prompts(tmp_path, *rows)), lambda row: failed(row, Kind.SERVER_ERROR, f"code-{row.number}", "x" * 10_000)
    )
    data = page_of(directory)
    assert len(data) < 500_000
    assert len(shown(data)["failures"]) == 50


@pytest.mark.parametrize(
    ("outcome", "ending", "state"),
    [
        (answered, "finished", "finished"),
        (failed, "finished", "failed"),
        (lambda row: None, "stopped", "unfinished"),
    ],
)
def test_the_state_of_the_run_comes_first(tmp_path, outcome, ending, state):
    directory = worked_off(job_of(prompts(tmp_path, *numbered(3))), outcome, ending=ending)
    assert shown(page_of(directory))["state"] == state


def test_a_killed_session_leaves_the_time_unknown(tmp_path):
    directory = worked_off(job_of(prompts(tmp_path, *numbered(3))), answered, ending="")
    data = shown(page_of(directory))
    assert data["seconds"] is None
    assert data["per_minute"] is None


def test_a_run_without_a_record_has_a_page(tmp_path):
    directory = worked_off(job_of(prompts(tmp_path, *numbered(3))), lambda row: None, ending="stopped")
    assert shown(page_of(directory))["series"]["at"] == []


def test_json_prints_what_the_page_shows_and_writes_no_file(evil_run):
    assert orjson.loads(invoked("report", evil_run, "--json").output)["failed"] == 2
    assert not (evil_run / "report.html").exists()


def test_a_run_goes_on_in_a_directory_with_a_report(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(3)))
    directory = worked_off(job, lambda row: answered(row) if row.number == 1 else None, ending="stopped")
    page_of(directory)
    worked_off(job, answered)
    assert shown(page_of(directory))["done"] == 3


def test_the_library_is_shipped_with_its_licence_and_version():
    from importlib.resources import files

    folder = files("arkbatch.reports.page").joinpath("uplot")
    version = orjson.loads(folder.joinpath("package.json").read_bytes())["version"]
    assert f"v{version}" in folder.joinpath("uPlot.iife.min.js").read_text()[:200]
    assert "MIT License" in folder.joinpath("LICENSE").read_text()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_has_each_of_its_words_in_both_languages(language):
    from importlib.resources import files

    script = files("arkbatch.reports.page").joinpath("page.js").read_text(encoding="utf-8")
    words = script.partition("const WORDS = {")[2].partition("const METERS")[0]
    english, chinese = words.split("\n    zh: {")
    known = set(re.findall(r"(?:^|[\s{,])(\w+):", english if language == "en" else chinese))
    assert set(re.findall(r"\b(?:w|words\(\))\.(\w+)", script)) <= known


def test_every_kind_of_failure_has_chinese_words_and_advice():
    script = files("arkbatch.reports.page").joinpath("page.js").read_text(encoding="utf-8")
    chinese = script[script.index("    zh: {") :]
    kinds, advice = (chinese[chinese.index(f"{name}: {{") :].split("}", 1)[0] for name in ("kind", "advice"))
    for kind in Kind:
        assert f"{kind.value}:" in kinds
        assert f"{kind.value}:" in advice
