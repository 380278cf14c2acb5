"""The real process against real faults: each row ends once, usage is what the records add up to, the key stays secret."""

import asyncio
import resource
import shutil
import signal
import subprocess
import sys

import orjson
import pytest
from certificates import self_signed
from fault_runs import KEY, ROWS, each_row_once, env, keeps_the_key, words
from processes import BODY, canned, environment, serving, size, until
from runs import numbered, prompts
from servers import OK, closed_port, whole


class Flaky:
    """Does `fault(reader, writer)` to the first so many requests, then answers as it should."""

    def __init__(self, fault, times=8):
        self.fault, self.times, self.heard = fault, times, []

    async def __call__(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(part[15:]) for part in head.lower().split(b"\r\n") if part.startswith(b"content-length:")
                )
                await reader.readexactly(length)
                self.heard.append(head)
                if len(self.heard) <= self.times:
                    await self.fault(writer)
                else:
                    writer.write(whole(BODY))
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def run(folder, url, *more, limits=None, variables=()):
    done = subprocess.run(
        words(url, *more),
        cwd=folder,
        env=env(url) | dict(variables),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
        preexec_fn=limits,
    )
    keeps_the_key(folder, done.stdout + done.stderr)
    return done


def start(folder, url, *more):
    return subprocess.Popen(
        words(url, *more),
        cwd=folder,
        env=env(url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


async def reset_before(writer):
    writer.transport.abort()


async def reset_inside(writer):
    writer.write(whole(BODY)[:-40])
    await writer.drain()
    writer.transport.abort()


async def reset_after(writer):
    writer.write(whole(BODY))
    await writer.drain()
    await asyncio.sleep(0.01)
    writer.transport.abort()


async def never_answers(writer):
    await asyncio.sleep(30)


async def trickles(writer):
    for byte in whole(BODY):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.008)  # 2 s in all, with silence of a second being too long


async def half_a_json(writer):
    writer.write(whole(BODY[: len(BODY) // 2]))
    await writer.drain()


async def headers_of_a_megabyte(writer):
    writer.write(OK + b"X-Filler: " + b"x" * (1 << 20) + b"\r\n\r\n")
    await writer.drain()


async def no_http(writer):
    writer.write(b"\x00\xffnonsense\r\n\r\n")
    await writer.drain()
    writer.transport.abort()


FAULTS = [reset_before, reset_inside, reset_after, never_answers, trickles, half_a_json, headers_of_a_megabyte, no_http]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_server_that_passes_costs_no_row(tmp_path, fault):
    prompts(tmp_path, *numbered(ROWS))
    with serving(Flaky(fault)) as url:
        done = run(tmp_path, url, "--timeout", 1, "--max-attempts", 30)
    assert done.returncode == 0, done.stderr.decode()
    assert each_row_once(tmp_path) == []


async def two_hundred_megabytes(writer):
    writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    part = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    for _ in range(200):
        writer.write(part)
        await writer.drain()


# A process of its own that starts the command and tells its peak: one that a test process starts counts that one's memory as its own.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def test_an_answer_of_200_megabytes_is_a_failure_and_not_an_eaten_memory(tmp_path):
    prompts(tmp_path, *numbered(3))
    with serving(Flaky(two_hundred_megabytes, times=1)) as url:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *words(url, "--concurrency", 1)],
            cwd=tmp_path,
            env=env(url),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3, done.stderr.decode()
    assert [line["error"]["code"] for line in each_row_once(tmp_path, 3)] == ["too_large"]
    peak = int(done.stdout.split()[-1])
    assert peak < 250 << 10  # KiB: 128 MB of the answer, and what a run takes


def test_a_redirect_is_not_followed_and_the_key_stays_at_home(tmp_path):
    prompts(tmp_path, *numbered(3))
    elsewhere = Flaky(None, times=0)
    with serving(elsewhere) as other:

        async def redirect(writer):
            writer.write(
                b"HTTP/1.1 302 Found\r\nLocation: " + other.encode() + b"/chat/completions\r\nContent-Length: 0\r\n\r\n"
            )
            await writer.drain()

        with serving(Flaky(redirect, times=100)) as url:
            done = run(tmp_path, url)
    assert done.returncode == 4, done.stderr.decode()
    assert elsewhere.heard == []


@pytest.mark.parametrize(
    "url", ["https://name.invalid/v1", f"http://127.0.0.1:{closed_port()}/v1"], ids=["name", "port"]
)
def test_a_service_that_cannot_be_reached_halts_the_run_after_the_time_given_and_fails_no_row(tmp_path, url):
    prompts(tmp_path, *numbered(ROWS))
    done = run(tmp_path, url, "--give-up-after", "1s")
    assert done.returncode == 4, done.stderr.decode()
    assert b"has not answered" in done.stderr
    assert size(tmp_path / "a.run" / "failures.jsonl") == 0


def test_a_certificate_error_is_no_rows_fault(tmp_path):
    prompts(tmp_path, *numbered(ROWS))
    with serving(Flaky(None, times=0)) as url:  # speaks no TLS at all
        done = run(tmp_path, url.replace("http:", "https:"), "--give-up-after", "1s")
    assert done.returncode == 4, done.stderr.decode()
    assert size(tmp_path / "a.run" / "failures.jsonl") == 0


def test_a_certificate_that_nobody_vouches_for_halts_the_run_which_goes_on_when_it_is_mended(tmp_path):
    prompts(tmp_path, *numbered(ROWS))
    tls, trusted = self_signed(tmp_path)
    handler = Flaky(None, times=0)
    with serving(handler, tls=tls) as url:
        done = run(tmp_path, url)
        assert (done.returncode, handler.heard) == (4, [])
        assert b"SSL_CERT_FILE=" in done.stderr
        again = run(tmp_path, url, variables={"SSL_CERT_FILE": str(trusted)})
    assert again.returncode == 0, again.stderr.decode()
    assert each_row_once(tmp_path) == []


def test_a_certificate_that_has_expired_halts_the_run(tmp_path):
    prompts(tmp_path, *numbered(ROWS))
    tls, trusted = self_signed(tmp_path, days=-1)
    handler = Flaky(None, times=0)
    with serving(handler, tls=tls) as url:
        done = run(tmp_path, url, variables={"SSL_CERT_FILE": str(trusted)})
    assert (done.returncode, handler.heard) == (4, [])
    assert b"certificate has expired" in done.stderr


def test_a_full_disk_ends_the_session_cleanly_and_the_run_goes_on_when_there_is_room(tmp_path):
    prompts(tmp_path, *numbered(ROWS))
    with canned() as (url, _):
        full = run(tmp_path, url, limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)))
        assert full.returncode == 5, full.stderr.decode()
        assert b"No space left" in full.stderr
        again = run(tmp_path, url)
    assert again.returncode == 0, again.stderr.decode()
    assert each_row_once(tmp_path) == []


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


def test_a_concurrency_beyond_the_open_files_is_refused_before_the_first_call(tmp_path):
    prompts(tmp_path, *numbered(ROWS))
    with canned() as (url, heard):
        done = run(tmp_path, url, "--concurrency", 40, limits=few_files)
    assert (done.returncode, heard) == (2, [])
    assert b"lower --concurrency" in done.stderr


def test_file_descriptors_that_run_out_cost_no_row(tmp_path):
    """As a library, where nobody looks at the limit first."""
    prompts(tmp_path, *numbered(ROWS))
    with canned(latency=0.1) as (url, _):
        program = (
            "import sys, arkbatch; flags = dict(model='m', base_url=sys.argv[1], run_dir='a.run', concurrency=40)\n"
        )
        program += "summary = arkbatch.run(arkbatch.load_job('in.jsonl', **flags)); sys.exit(summary.exit_code)"
        command = [sys.executable, "-W", "error", "-c", program, url]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, timeout=60, preexec_fn=few_files, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    assert each_row_once(tmp_path) == []
    results = (tmp_path / "a.run" / "results.jsonl").read_bytes().splitlines()
    assert {orjson.loads(line)["attempts"] for line in results} == {1}  # nobody was refused a connection


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path):
    prompts(tmp_path, *numbered(3))
    with canned() as (url, heard):
        done = run(tmp_path, url, "-o", "/proc/a.run")
    assert done.returncode == 5
    assert done.stderr.decode().count("\n") == 1
    assert heard == []


def test_a_run_directory_that_is_removed_ends_the_session_with_a_message(tmp_path):
    prompts(tmp_path, *numbered(2000))
    with canned(latency=0.1) as (url, _):
        process = start(tmp_path, url)
        until(lambda: size(tmp_path / "a.run" / "results.jsonl") > 0)
        while (tmp_path / "a.run").exists():  # files come and go while it is removed
            shutil.rmtree(tmp_path / "a.run", ignore_errors=True)
        _, err = process.communicate(timeout=40)
    assert process.returncode == 5, err.decode()
    assert b"Traceback" not in err


def test_a_second_writer_is_told_who_is_first(tmp_path):
    prompts(tmp_path, *numbered(1000))
    with canned(latency=0.3) as (url, _):
        process = start(tmp_path, url)
        until(lambda: size(tmp_path / "a.run" / "results.jsonl") > 0)
        second = run(tmp_path, url)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert second.returncode == 5
        assert f"process {process.pid}".encode() in second.stderr
        run(tmp_path, url, "--concurrency", 500)
    assert each_row_once(tmp_path, 1000) == []


def test_the_process_list_does_not_show_the_key_and_the_run_is_its_owners(tmp_path):
    prompts(tmp_path, *numbered(ROWS))
    with canned(latency=0.2) as (url, _):
        process = start(tmp_path, url)
        until(lambda: size(tmp_path / "a.run" / "results.jsonl") > 0)
        with open(f"/proc/{process.pid}/cmdline", "rb") as shown:
            assert KEY.encode() not in shown.read()
        process.communicate(timeout=30)
    assert (tmp_path / "a.run").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "a.run").iterdir())
