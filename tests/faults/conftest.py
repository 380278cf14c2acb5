"""What takes minutes passes beside the other tests: it begins before the first and is looked at after the last."""

import subprocess
import sys

import pytest
from processes import ROOT, environment

STARTED = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "beside(*words): a script of benchmarks/ that goes on beside the other tests")
    config.stash[STARTED] = {}


def pytest_collection_modifyitems(items):
    """Stable: all others stay in order."""
    items.sort(key=lambda item: item.get_closest_marker("beside") is not None)


def pytest_collection_finish(session):
    if session.config.option.collectonly:
        return
    for item in session.items:
        mark = item.get_closest_marker("beside")
        if mark is not None:
            session.config.stash[STARTED][item.nodeid] = start(*mark.args)


def start(script, *words):
    command = ["nice", "-n", "15", sys.executable, ROOT / "benchmarks" / script, *words]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def said(request):
    """What the script of the test has printed, at its end, which may still take some time."""
    process = request.config.stash[STARTED][request.node.nodeid]
    printed, _ = process.communicate(timeout=400)
    assert process.returncode == 0, printed
    return printed


def pytest_sessionfinish(session):
    """Also after Ctrl-C, or a first failure; the scripts end their own processes on a SIGTERM."""
    for process in session.config.stash[STARTED].values():
        process.terminate()
        process.communicate()
