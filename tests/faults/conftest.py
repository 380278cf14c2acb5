"""Scripts of `benchmarks/` that take minutes: they come first, so that other workers run the rest meanwhile."""

import subprocess
import sys

import pytest
from processes import ROOT, environment


def pytest_configure(config):
    config.addinivalue_line("markers", "script(*words): a script of benchmarks/, whose output the fixture `said` gives")


def pytest_collection_modifyitems(items):
    """Stable: all others stay in order."""
    items.sort(key=lambda item: item.get_closest_marker("script") is None)


@pytest.fixture
def said(request):
    """What the script of the test printed."""
    script, *words = request.node.get_closest_marker("script").args
    command = ["nice", "-n", "15", sys.executable, ROOT / "benchmarks" / script, *words]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        printed, _ = process.communicate(timeout=400)
    finally:
        process.terminate()  # after Ctrl-C; the script ends its own processes
        process.communicate()
    assert process.returncode == 0, printed
    return printed
