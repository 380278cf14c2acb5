"""The two minutes of the soak pass beside the other tests: it begins before the first and is looked at after the last."""

import subprocess
import sys

import pytest
from processes import ROOT, environment

SOAK = pytest.StashKey()
SHORT = ["--minutes", "2", "--rows", "15000", "--concurrency", "128"]
COMMAND = ["nice", "-n", "15", sys.executable, ROOT / "benchmarks/soak.py", *SHORT]


def pytest_collection_modifyitems(items):
    """Stable: all others stay in order."""
    items.sort(key=lambda item: item.path.name == "test_soak.py")


def pytest_collection_finish(session):
    if any(item.path.name == "test_soak.py" for item in session.items) and not session.config.option.collectonly:
        session.config.stash[SOAK] = subprocess.Popen(
            COMMAND,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def soak(request):
    """The process, which may still have some time to go."""
    return request.config.stash[SOAK]


def pytest_sessionfinish(session):
    """Also after Ctrl-C, or a first failure; the script ends its own processes on a SIGTERM."""
    process = session.config.stash.get(SOAK, None)
    if process is not None:
        process.terminate()
        process.communicate()
