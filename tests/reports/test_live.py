"""The live page is shown to the one who started it, says how the run goes on, and can stop it."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest
from runs import answered, job_of, numbered, prompts, worked_off

from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.monitor.progress import Progress
from arkbatch.reports.serve.live import Look, Moment, serve_page


@pytest.fixture
def directory(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(4)))
    return worked_off(job, lambda row: answered(row) if row.number < 3 else None, ending="stopped")


def look_at(directory):
    return Look(str(directory), lambda: 1_790_000_100.0)


@asynccontextmanager
async def served(look, **how):
    async with aiohttp.ClientSession() as client, serve_page(look, **how) as url:
        yield Browser(client, url)


class Browser:
    def __init__(self, client, url):
        self.client, self.url = client, url
        self.origin, _, self.token = url.partition("/?token=")

    async def get(self, path, **headers):
        async with self.client.get(self.origin + path, headers=headers) as reply:
            return reply.status, await reply.text(), reply.headers

    async def stop(self, query="", **headers):
        async with self.client.post(f"{self.origin}/stop{query}", headers=headers) as reply:
            return reply.status

    @asynccontextmanager
    async def events(self):
        async with self.client.get(f"{self.origin}/events?token={self.token}") as reply:
            assert reply.status == 200
            yield self._read(reply)

    async def _read(self, reply):
        name = ""
        async for line in reply.content:
            if line.startswith(b"event:"):
                name = line[6:].strip().decode()
            elif line.startswith(b"data:"):
                yield name, orjson.loads(line[5:]) if line[5:].strip() else None


def in_loop(check):
    """The real clock: the server listens on a real port, and files are read in a thread."""

    async def within():
        async with asyncio.timeout(20):
            await check()

    asyncio.run(within())


def test_the_page_is_served_with_its_token_and_a_policy(directory):
    async def check():
        async with served(look_at(directory)) as browser:
            status, text, headers = await browser.get(f"/?token={browser.token}")
            assert status == 200
            assert 'id="data">null<' in text
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"

    in_loop(check)


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/events", "/events?token=wrong", "/?token=%00é"])
def test_without_the_token_nothing_is_shown(directory, path):
    async def check():
        async with served(look_at(directory)) as browser:
            assert (await browser.get(path))[0] == 403

    in_loop(check)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"])
def test_another_name_for_this_machine_is_refused(directory, host):
    """A web page elsewhere could give its own name our address."""

    async def check():
        async with served(look_at(directory)) as browser:
            port = browser.origin.rpartition(":")[2]
            assert (await browser.get(f"/?token={browser.token}", Host=host.format(port=port)))[0] == 403
            assert (await browser.get(f"/?token={browser.token}", Host=f"localhost:{port}"))[0] == 200

    in_loop(check)


def test_it_listens_on_loopback_only(directory):
    async def check():
        async with served(look_at(directory)) as browser:
            assert browser.origin.startswith("http://127.0.0.1:")

    in_loop(check)


def test_a_reader_hears_how_the_run_goes_on(tmp_path, directory):
    async def check():
        async with served(look_at(directory)) as browser, browser.events() as events:
            _, first = await anext(events)
            assert (first["page"]["done"], first["page"]["state"], first["can_stop"]) == (2, "unfinished", False)
            job = job_of(tmp_path / "in.jsonl")
            await asyncio.to_thread(worked_off, job, answered)
            while (await anext(events))[1]["page"]["done"] < 4:
                pass

    in_loop(check)


def test_readers_are_told_when_it_is_over(directory):
    async def check():
        heard, over = asyncio.Event(), asyncio.Event()

        async def listen(browser):
            async with browser.events() as events:
                async for name, _ in events:
                    (over if name == "over" else heard).set()

        async with asyncio.TaskGroup() as group, served(look_at(directory)) as browser:
            group.create_task(listen(browser))
            await heard.wait()
            assert not over.is_set()
        assert over.is_set()

    in_loop(check)


def test_nothing_is_read_while_no_page_is_open(directory):
    looks = []

    def look():
        looks.append(1)
        return look_at(directory)()

    async def check():
        async with served(look) as browser:
            await browser.get(f"/?token={browser.token}")
            assert not looks

    in_loop(check)


def test_trouble_with_the_files_is_shown_and_ends_nothing(directory):
    def look():
        raise RunDirectoryError("Cannot read it.")

    async def check():
        async with served(look) as browser, browser.events() as events:
            _, message = await anext(events)
            assert message["trouble"] == "Cannot read it."
            assert message["page"] is None

    in_loop(check)


def test_a_stop_needs_the_token_in_a_header(directory):
    stops = []

    async def check():
        async with served(look_at(directory), stop=lambda: stops.append(1)) as browser:
            assert await browser.stop() == 403
            assert await browser.stop(**{"X-Arkbatch-Token": "wrong"}) == 403
            assert await browser.stop(**{"X-Arkbatch-Token": browser.token, "Origin": "http://evil.example"}) == 403
            assert not stops
            assert await browser.stop(**{"X-Arkbatch-Token": browser.token, "Origin": browser.origin}) == 202
            assert stops

    in_loop(check)


def test_a_token_in_the_address_stops_nothing(directory):
    """So that a link or a form elsewhere cannot do it."""

    async def check():
        async with served(look_at(directory), stop=lambda: None) as browser:
            assert await browser.stop(f"?token={browser.token}") == 403

    in_loop(check)


def test_a_run_in_another_process_cannot_be_stopped_from_here(directory):
    async def check():
        async with served(look_at(directory)) as browser:
            assert await browser.stop(**{"X-Arkbatch-Token": browser.token}) == 404

    in_loop(check)


def test_a_taken_port_is_told_before_anything_is_sent(directory):
    async def check():
        async with served(look_at(directory)) as browser:
            with pytest.raises(UsageError, match="is taken"):
                async with serve_page(look_at(directory), port=int(browser.origin.rpartition(":")[2])):
                    pass

    in_loop(check)


def test_an_error_of_the_body_comes_out_as_it_is(directory):
    async def check():
        with pytest.raises(RunDirectoryError, match="the disk is gone"):
            async with serve_page(look_at(directory)):
                raise RunDirectoryError("the disk is gone")

    in_loop(check)


def test_a_moment_is_what_the_session_last_said():
    moment = Moment()
    assert moment.state_now() is None
    standing = Progress(10, 5, 0, 3, 0, 5, 60.0, 5.0, 5.0, 100.0, bound_by="the concurrency")
    moment.progressed(standing)
    moment.stopping(3)
    now = moment.state_now()
    assert (now.in_flight, now.bound_by, now.seconds_left, now.stopping) == (3, "the concurrency", 60.0, True)
    moment.closed("stopped")
    assert moment.state_now() is None
