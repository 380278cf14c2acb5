"""What Prometheus is told is what happened, on this machine only, under the names that the documentation promises."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import orjson
import pytest
from builders import failure, reply, row, success
from msgspec.structs import replace
from processes import arkbatch
from prometheus_client.parser import text_string_to_metric_families
from runs import BEGAN, failed, job_of, numbered, prompts, worked_off
from virtual import run_virtual

from arkbatch.cli.live_and_metrics import Serving, session_of
from arkbatch.core.calls import Again, Broken, Cause, Done, Halt, Kind, Refused
from arkbatch.core.errors import UsageError
from arkbatch.core.secret import Secret
from arkbatch.engine.open_run import OpenRun
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import FoundRows, Progress
from arkbatch.pricing.amounts import Money
from arkbatch.reports.serve.metrics import Described, Metrics, serve_metrics
from arkbatch.simulator.server import Settings, serve

DESCRIBED = Described("r-1", "doubao", "chat", "online", "no")
ROOT = Path(__file__).parents[2]


def samples(text):
    """Value by name and labels, as `calls{end=done}`; without the prefix."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[sample.name.removeprefix("arkbatch_") + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


async def scraped(client, url, **headers):
    async with client.get(url, headers=headers) as heard:
        assert heard.status == 200
        return samples(await heard.text())


def read(metrics):
    """Its samples, as a scrape gives them."""

    async def main():
        async with aiohttp.ClientSession() as client, serve_metrics(metrics) as url:
            return await scraped(client, url)

    return run_virtual(main())


def of_a_run(job, capsys, at):
    """Scrapes of a real session against the simulator: `at` seconds after its begin, and after its end."""

    async def main():
        loop, heard = asyncio.get_running_loop(), []
        async with (
            serve(Settings(latency=2.0)) as base_url,
            aiohttp.ClientSession() as client,
            AsyncExitStack() as served,
        ):
            ready = replace(job, base_url=base_url, api_key=Secret("any-key"))
            with OpenRun(ready, wall=lambda: BEGAN + loop.time()) as run:
                session = await session_of(run, Observer(), Serving(metrics=0), served)
                url = capsys.readouterr().err.removeprefix("Metrics:").strip()
                work = asyncio.ensure_future(session.work())
                await asyncio.sleep(at)
                heard.append(await scraped(client, url))
                await work
                heard.append(await scraped(client, url))
        return heard

    return run_virtual(main())


def test_a_run_is_followed_while_it_goes_and_ends_as_its_usage_says(tmp_path, capsys):
    job = job_of(prompts(tmp_path, *numbered(40)), model="doubao-1-5-pro-32k-250115", concurrency=4)
    during, after = of_a_run(job, capsys, at=6.0)
    assert 0 < during["rows_total{outcome=succeeded}"] < 40
    assert during["calls_in_flight"] == 4
    assert during["rows_left"] + during["rows_total{outcome=succeeded}"] == pytest.approx(40, abs=4)
    usage = orjson.loads((Path(job.run_dir) / "usage.json").read_bytes())
    assert after["rows_total{outcome=succeeded}"] == after["calls_total{end=done}"] == 40
    assert after["tokens_total{meter=input}"] == usage["usage"]["input"]
    assert after["tokens_total{meter=output}"] == usage["usage"]["output"]
    assert after["run_cost{currency=CNY}"] == float(usage["cost"]["amounts"]["CNY"])
    assert (after["calls_in_flight"], after["rows_left"]) == (0, 0)
    assert after["call_seconds_count"] == 40


def test_what_goes_wrong_is_counted_by_kind():
    metrics, empty = Metrics(DESCRIBED, Money), Again(Cause(Kind.EMPTY, "", ""), usage={"input": 7, "output": -1})
    for verdict in (empty, Refused(Cause(Kind.BLOCKED, "", "")), Halt(Cause(Kind.AUTH, "", ""))):
        metrics.answered(row(), "c-1", Broken("timeout", ""), verdict)
    metrics.retrying(row(), "c-1", empty, 1.0)
    metrics.recorded(failure(kind=Kind.BLOCKED))
    metrics.recorded(success())
    metrics.halted(Cause(Kind.AUTH, "", ""))
    told = read(metrics)
    for name in (
        "calls_total{end=empty}",
        "calls_total{end=blocked}",
        "calls_total{end=auth}",
        "retries_total{kind=empty}",
        "failures_total{kind=blocked}",
        "rows_total{outcome=failed}",
        "rows_total{outcome=succeeded}",
        "halts_total{kind=auth}",
    ):
        assert told[name] == 1, name
    assert told["tokens_total{meter=input}"] == told["discarded_tokens_total{meter=input}"] == 7
    assert told["calls_total{end=done}"] == told["failures_total{kind=timeout}"] == 0


def test_the_first_token_of_a_streamed_answer_is_timed():
    metrics = Metrics(DESCRIBED, Money)
    metrics.answered(row(), "c-1", replace(reply(seconds=9.0), first_token=0.3), Done({"output": 5}))
    metrics.answered(row(), "c-2", reply(), Done({"output": 5}))
    told = read(metrics)
    assert (told["first_token_seconds_count"], told["first_token_seconds_sum"]) == (1, 0.3)
    assert told["first_token_seconds_bucket{le=0.2}"] == 0
    assert told["call_seconds_count"] == 2


def test_what_is_not_known_has_no_sample():
    metrics = Metrics(DESCRIBED, lambda: Money(unpriced=3))
    assert "rows_left" not in read(metrics)
    metrics.progressed(Progress(10, 5, 0, 3, 0, 5, 60.0, 5.0, 5.0, 100.0, rpm_found=80.0))
    told = read(metrics)
    assert (told["requests_per_minute_found"], told["run_unpriced_rows"]) == (80, 3)
    assert not [name for name in told if name.endswith("_limit") or name.startswith("run_cost{")]


def test_rows_that_are_known_only_as_shards_are_opened_are_told():
    metrics = Metrics(DESCRIBED, Money)
    metrics.opened(FoundRows("a.run", 0, 0, 0, 0, 0, fresh=True))
    metrics.progressed(Progress(10, 5, 0, 3, 0, 5, 60.0, 5.0, 5.0, 100.0))
    assert read(metrics)["run_rows"] == 10


def test_every_name_is_documented():
    metrics, text = Metrics(DESCRIBED, Money), (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    metrics.progressed(Progress(10, 5, 0, 3, 0, 5, 60.0, 5.0, 5.0, 1.0, 1.0, 1.0, rpm_found=1.0, concurrency_found=1))
    for family in metrics.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in text or f"`{name}{{" in text, name


def test_only_this_machine_is_answered():
    async def main():
        async with aiohttp.ClientSession() as client, serve_metrics(Metrics(DESCRIBED, Money)) as url:
            assert url.startswith("http://127.0.0.1:")
            for host, status in (("evil.example", 403), ("localhost:1", 200)):
                async with client.get(url, headers={"Host": host}) as heard:
                    assert heard.status == status

    run_virtual(main())


def test_prometheus_own_format_is_spoken():
    async def main():
        async with (
            aiohttp.ClientSession(headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as client,
            serve_metrics(Metrics(DESCRIBED, Money)) as url,
            client.get(url) as heard,
        ):
            assert heard.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await heard.text()).endswith("# EOF\n")

    run_virtual(main())


def test_a_taken_port_is_refused_in_one_line():
    async def main():
        async with serve_metrics(Metrics(DESCRIBED, Money)) as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            with pytest.raises(UsageError, match=f"^Port {port} is taken; [^\n]*$"):
                async with serve_metrics(Metrics(DESCRIBED, Money), port):
                    pass

    run_virtual(main())


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "arkbatch.reports.serve.metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=r"pip install 'arkbatch\[metrics\]'"):
        Serving(metrics=0).check_extras()
    Serving(live=0).check_extras()


def test_a_retry_serves_page_and_metrics_too(tmp_path):
    run = worked_off(job_of(prompts(tmp_path, *numbered(2))), failed)
    done = arkbatch("retry", run, "--live", "--metrics", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"Live page:  http://127.0.0.1:" in done.stderr
    assert b"Metrics:  http://127.0.0.1:" in done.stderr
