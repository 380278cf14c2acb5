"""A simulator in a process of its own."""

import subprocess
from contextlib import contextmanager

from processes import arguments, environment


@contextmanager
def simulator_process(port=0, *more):
    """The address of a simulator in a process of its own, which is killed at the end."""
    words = arguments("simulate", "--port", port, "--latency", "0.1", *more)
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        yield process.stderr.readline().split(" at ")[1].split(" until ")[0]
    finally:
        process.kill()
        process.communicate()
