"""Scripts of `benchmarks/` that take minutes: they come first, side by side, while other workers run the rest."""

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile

import pytest
from processes import ROOT, environment


def pytest_configure(config):
    config.addinivalue_line("markers", "script(*words): a script of benchmarks/, whose output the fixture `said` gives")


def pytest_collection_modifyitems(items):
    """Stable: all others stay in order."""
    items.sort(key=lambda item: item.get_closest_marker("script") is None)


@pytest.fixture(scope="session")
def scripts(request):
    """Every script of the tests that were chosen, already started: they mostly wait."""
    chosen = [marker.args for item in request.session.items if (marker := item.get_closest_marker("script"))]
    with ExitStack() as stack:
        yield {words: stack.enter_context(started(*words)) for words in chosen}


@contextmanager
def started(script, *words):
    """A function that waits for the script, and returns its exit code and what it printed."""
    # Not niced: beside busy workers a script would hardly run, and would still be at work when they have ended.
    command = [sys.executable, ROOT / "benchmarks" / script, *words]
    with TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment(), stdout=output, stderr=subprocess.STDOUT)

        def ended():
            code = process.wait(timeout=400)
            output.seek(0)
            return code, output.read()

        try:
            yield ended
        finally:
            process.terminate()  # after Ctrl-C; the script ends its own processes
            process.wait()


@pytest.fixture
def said(request, scripts):
    """What the script of the test printed."""
    code, printed = scripts[request.node.get_closest_marker("script").args]()
    assert code == 0, printed
    return printed
