import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

import arkbatch.cli.simulate
import arkbatch.simulator
from arkbatch.cli.simulate import command
from arkbatch.core.errors import UsageError
from arkbatch.simulator.faults import BATCH_MENU, MENU

ARKBATCH = [sys.executable, "-c", "from arkbatch.cli import main; main()", "simulate"]


def refused(*arguments):
    with pytest.raises(UsageError) as mistake:
        CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    return str(mistake.value)


def test_it_serves_until_it_is_stopped_and_says_how_to_point_a_client_at_it():
    process = subprocess.Popen([*ARKBATCH, "--port", "0"], stderr=subprocess.PIPE, text=True, env={**os.environ})
    said = [process.stderr.readline() for _ in range(6)]
    url = re.search(r"ARK_BASE_URL=(\S+/api/v3)", said[1])[1]
    assert "ARK_API_KEY=anything" in said[2]
    assert f"ARK_CONTROL_PLANE={url.removesuffix('/api/v3')}/" in said[4]
    assert "VOLC_ACCESSKEY=AKLTsimulated VOLC_SECRETKEY=simulated-secret" in said[5]
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    call = urllib.request.Request(url + "/chat/completions", body, {"Authorization": "Bearer x"})
    with urllib.request.urlopen(call) as reply:
        assert reply.status == 200
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Stopped after 1 calls: 1 ok." in rest


def test_a_taken_port_is_one_clear_line_and_exit_code_2():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = subprocess.run([*ARKBATCH, "--port", port], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"arkbatch: port {port} is taken on 127.0.0.1; choose another with --port, or 0 for any free one\n"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_a_host_that_others_can_reach_must_be_meant(host):
    assert "--expose" in refused("--host", host)


def test_a_misspelled_fault_shows_the_menu():
    assert "stall" in refused("--fault", "stahl=1")


def test_a_fault_without_a_rate_is_refused():
    assert "NAME=RATE" in refused("--fault", "stall")


@pytest.mark.parametrize("pair", ["AKLTmine", "AKLTmine:", ":secret"])
def test_an_access_key_without_a_secret_is_refused(pair):
    assert "ID:SECRET" in refused("--access-key", pair)


def test_every_option_reaches_the_simulator(monkeypatch):
    served = []

    async def serve(settings, host, port):
        served.append(settings)

    monkeypatch.setattr(arkbatch.cli.simulate, "_serve_until_stopped", serve)
    arguments = (
        "--access-key AKLTmine:se:cret --key-seconds 60 --key-rpm 3 --batch-hold 2 --batch-slots 5 --batch-queue 0"
    )
    more = "--batch-retry-after 7 --certificate expired --blobs 2 --chunks 20"
    CliRunner().invoke(command, [*arguments.split(), *more.split()], standalone_mode=False, catch_exceptions=False)
    [settings] = served
    assert settings.access_keys == {"AKLTmine": "se:cret"}
    assert (settings.key_seconds, settings.key_rpm, settings.batch_hold) == (60, 3, 2.0)
    assert (settings.batch_slots, settings.batch_queue, settings.batch_retry_after) == (5, 0, 7)
    assert (settings.certificate, settings.blobs, settings.chunks) == ("expired", 2, 20)


def test_help_shows_an_example():
    assert "arkbatch simulate --rpm 300" in CliRunner().invoke(command, ["--help"]).output


def test_the_menu_can_be_printed():
    output = CliRunner().invoke(command, ["--list-faults"]).output
    names = [line.split()[0] for line in output.splitlines() if not line.startswith("Of batches")]
    assert names == [*MENU, *BATCH_MENU]


def test_the_readme_explains_every_fault():
    readme = Path(arkbatch.simulator.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert [name for name in MENU if f"`{name}`" not in readme] == []
