"""The report page in a real browser: Debian's Chromium, driven by Playwright. Skipped where either is missing."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from batch_runs import batched
from batch_runs import rows as batch_rows
from click.testing import CliRunner
from msgspec.structs import replace
from runs import answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli import arkbatch
from arkbatch.core.calls import Kind
from arkbatch.core.job_sections import Files
from arkbatch.core.outcomes import Attempt
from arkbatch.journal.run_directory import USAGE

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EVIL = "<script>window.pwned = 1</script></script><img src=x onerror='window.pwned = 2'><!--"
CHARTS = {"requests", "tokens", "in_flight", "cost", "retries", "latency"}


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Opens addresses, and holds each page to asking no one and to running nothing foreign."""
    contexts, asked, complaints = [], [], []

    def open_(url, **how):
        context = chromium.new_context(**({"locale": "en-US"} | how))
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("window.pwned") is None
        context.close()
    assert [url for url in asked if not re.match(r"(file|data):|http://127\.0\.0\.1:\d+/", url)] == []
    assert complaints == []


@pytest.fixture
def night(tmp_path):
    """A run with all that a page can show."""
    rows = [{"custom_id": f"{EVIL}{number}", "prompt": EVIL} for number in range(60)]

    def outcome(row):
        if row.number % 20 == 0:
            return failed(row, Kind.BLOCKED, EVIL, EVIL)
        calls = [Attempt("c-1", "overloaded", 1.0), Attempt("c-2", "done", 0.2 + row.number % 7)]
        return answered(row, model="doubao-seed-1-6-251015", calls=calls, attempts=2, discarded={"input": 1})

    return worked_off(job_of(prompts(tmp_path, *rows)), outcome, command=EVIL)


def report_of(directory):
    CliRunner().invoke(arkbatch, ["report", str(directory)], standalone_mode=False, catch_exceptions=False)
    return (directory / "report.html").as_uri()


def text(page, selector):
    return page.locator(selector).inner_text()


def painted(page, name):
    """Whether anything was drawn on the chart's canvas."""
    script = """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"""
    return page.locator(f'[data-chart="{name}"] canvas').evaluate(script)


def test_charts_are_drawn(opened, night):
    page = opened(report_of(night))
    page.wait_for_selector("canvas")
    assert set(page.locator("[data-chart]").evaluate_all("all => all.map(each => each.dataset.chart)")) == CHARTS
    assert all(painted(page, name) for name in CHARTS)


def test_numbers_are_those_of_the_usage_file(opened, night):
    usage = orjson.loads((night / USAGE).read_bytes())
    page = opened(report_of(night))
    for name, value in usage["usage"].items():
        assert text(page, f'[data-of="{name}"]') == f"{value:,}"
    assert text(page, '[data-of="done"]') == f"{usage['rows']['succeeded']:,}"
    assert text(page, '[data-of="failed"]') == f"{usage['rows']['failed']:,}"
    assert text(page, '[data-of="thrown"]') == f"{sum(usage['discarded'].values()):,}"
    assert text(page, '[data-tile="done"] b') == f"{usage['rows']['succeeded']:,}"
    assert page.locator(".total [data-cost]").get_attribute("data-cost") == usage["cost"]["amounts"]["CNY"]


@pytest.mark.parametrize(
    ("locale", "said"), [("en-US", "Fix the failed rows in the input"), ("zh-CN", "在输入文件里改好失败的行")]
)
def test_rows_that_would_fail_again_are_to_be_mended(opened, tmp_path, locale, said):
    command = "arkbatch run in.jsonl"
    run = worked_off(job_of(prompts(tmp_path, *numbered(2))), lambda row: failed(row, Kind.BLOCKED), command=command)
    page = opened(report_of(run), locale=locale)
    assert said in text(page, ".next")
    assert f"{command} --rebase" in text(page, ".next")


def test_a_session_that_was_killed_is_said_to_be(opened, tmp_path):
    run = worked_off(job_of(prompts(tmp_path, *numbered(2))), answered, ending="")
    assert "killed, or the disk was full" in text(opened(report_of(run)), '[data-part="sessions"]')


def test_markup_in_prompts_ids_messages_and_commands_is_text(opened, night):
    """That nothing of it ran is checked when the page is closed."""
    page = opened(report_of(night))
    page.locator("details.last summary").click()
    assert EVIL in text(page, "details.last")
    assert EVIL in text(page, '[data-kind="blocked"]')
    assert EVIL in text(page, '[data-part="sessions"]')
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2


def test_the_policy_stops_a_script_that_is_put_in(chromium, night):
    page = chromium.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(report_of(night))
    put = "const put = document.createElement('script'); put.textContent = 'window.late = 1'; document.body.append(put)"
    assert page.evaluate(f"() => {{ {put}; return window.late }}") is None
    assert "Content Security Policy" in complaints[0]
    page.close()


def test_the_language_follows_the_browser_and_can_be_switched(opened, night):
    page = opened(report_of(night), locale="zh-CN")
    assert "已完成" in text(page, "h1")
    page.get_by_role("button", name="English").click()
    assert "Finished" in text(page, "h1")
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_follow_the_system(opened, night, scheme):
    page = opened(report_of(night), color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert (bright > 200) is (scheme == "light")


def test_a_phone_shows_the_page_without_scrolling_sideways(opened, night):
    page = opened(report_of(night), viewport={"width": 360, "height": 700})
    page.wait_for_selector("canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_look_closer_at_one_chart_moves_all_and_can_be_undone(opened, night):
    page = opened(report_of(night))
    page.wait_for_selector("canvas")
    box = page.locator('[data-chart="requests"] .u-over').bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 50, steps=5)
    page.mouse.up()
    assert page.locator("#all").is_visible()
    page.locator("#all").click()
    assert not page.locator("#all").is_visible()


@contextmanager
def command(*args, cwd):
    """A command in a process of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "arkbatch.cli", *args],
        cwd=cwd,
        env=os.environ | {"ARK_API_KEY": "x"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, next(found[0] for line in process.stderr if (found := re.search(r"http://\S+token=\S+", line)))
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_watch_shows_what_another_session_adds(opened, tmp_path):
    job = job_of(prompts(tmp_path, *numbered(6)))
    directory = worked_off(job, lambda row: answered(row) if row.number < 3 else None, ending="stopped")
    with command("watch", str(directory), cwd=tmp_path) as (_, url):
        page = opened(url)
        page.wait_for_selector('[data-tile="left"]')
        assert text(page, '[data-tile="done"] b') == "2"
        assert page.locator("button.stop").count() == 0
        worked_off(job, lambda row: failed(row, message=EVIL) if row.number == 6 else answered(row))
        expect(page.locator('[data-tile="done"] b')).to_have_text("5")
        assert EVIL in text(page, "details.last")
    page.wait_for_selector('[data-note="over"]')


def test_a_live_run_is_followed_and_stopped_from_its_page(opened, tmp_path):
    prompts(tmp_path, *numbered(5_000))
    args = ("run", "in.jsonl", "--model", "doubao", "--simulate", "--concurrency", "4", "--live")
    with command(*args, cwd=tmp_path) as (process, url):
        page = opened(url)
        page.on("dialog", lambda dialog: dialog.accept())
        page.wait_for_selector("main.running canvas")
        expect(page.locator('[data-tile="done"] b')).not_to_have_text(text(page, '[data-tile="done"] b'))
        page.locator("button.stop").click()
        page.wait_for_selector('main.unfinished [data-note="over"]')
        assert process.wait(timeout=20) == 130
    usage = orjson.loads((tmp_path / "in.run" / USAGE).read_bytes())
    assert text(page, '[data-of="input"]') == f"{usage['usage']['input']:,}"


def test_an_address_without_its_token_shows_nothing(opened, tmp_path):
    directory = worked_off(job_of(prompts(tmp_path, *numbered(2))), answered)
    with command("watch", str(directory), cwd=tmp_path) as (_, url):
        page = opened("about:blank")
        reply = page.request.get(url.partition("?")[0])
        assert reply.status == 403
        assert "token" in reply.text()


def test_a_run_of_a_few_seconds_shows_no_rate_a_minute(tmp_path, opened):
    job = job_of(prompts(tmp_path, *numbered(4)))
    directory = worked_off(job, lambda row: failed(row) if row.number == 3 else answered(row))
    page = opened(report_of(directory))
    assert page.locator("[data-chart=requests]").count() == 0
    assert page.locator("[data-chart=in_flight]").count() == 1


def test_shares_of_done_and_failed_add_up(tmp_path, opened):
    job = job_of(prompts(tmp_path, *numbered(400)))
    directory = worked_off(job, lambda row: failed(row) if row.number <= 3 else answered(row))
    tiles = [opened(report_of(directory)).locator(f"[data-tile={name}]").inner_text() for name in ("done", "failed")]
    assert sum(float(re.search(r"([\d.]+) %", tile)[1]) for tile in tiles) == pytest.approx(100)


def test_batch_files_are_listed_with_their_state_order_and_waiting_time(tmp_path, opened):
    asked = replace(job_of(prompts(tmp_path, *batch_rows(20))), lane="files", files=Files(rows=10))
    with ThreadPoolExecutor(1) as pool:  # Playwright runs a loop in this thread
        pool.submit(batched, asked, {"detach": True}, batch_seconds=6_000).result()
    page = opened(report_of(Path(asked.run_dir)))
    lines = page.locator('[data-part="parcels"] tbody tr').all_inner_texts()
    assert [line.split("\t")[0] for line in lines] == ["2", "1"]
    assert all("\t10\t0\tvalidating\t2026-09-21 " in line for line in lines)
    page.locator("button.language").click()
    assert "批量文件" in text(page, "main")


def test_a_run_of_calls_has_no_batch_files(opened, night):
    assert opened(report_of(night)).locator('[data-part="parcels"]').count() == 0
