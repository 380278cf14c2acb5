"""The promise of the pace, on one short simulated night: `benchmarks/pace.py` prints it over many long ones."""

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "pace.py"
spec = importlib.util.spec_from_file_location("benchmark_pace", FILE)
nights = sys.modules["benchmark_pace"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(nights)


@pytest.mark.parametrize("policy", ["arkbatch", "arkbatch, Ark's ramp"])
@pytest.mark.parametrize("server", nights.SERVERS)
def test_a_changing_limit_is_used_and_hardly_passed(policy, server):
    """Of the oracle 95 % over two hours, 90 % within a minute of each change but one, three refusals in two hundred."""
    _, _, figures = nights.one((policy, server, 0, 2 * nights.HOUR))
    assert figures.granted >= 0.95 * figures.oracle
    assert figures.refused < 0.015 * figures.granted
    *others, slowest = sorted(figures.recoveries)
    assert max(others) < 60
    assert slowest < 90
    assert figures.lost == 0


def test_refusals_of_a_window_that_ends_in_a_moment_end_the_search_for_more():
    _, _, figures = nights.one(("arkbatch", "10 s, Retry-After", 1, 2 * nights.HOUR))
    assert figures.granted >= 0.97 * figures.oracle
    assert figures.refused < 0.02 * figures.granted


def test_the_oracle_gets_what_is_granted_and_nothing_in_an_outage():
    night = nights.Night(300.0, [0.0, 60.0, 120.0], [600.0, 0.0, 300.0], [0.0])
    assert night.granted_by(60.0) == 600
    assert night.granted_by(120.0) == 600
    assert night.granted_by(180.0) == 900
    assert (night.at(59.9), night.at(60.0), night.at(1000.0)) == (600.0, 0.0, 300.0)


def test_a_naive_client_is_refused_most_of_the_time_and_loses_rows():
    _, _, figures = nights.one(("official SDK", "fixed minute", 0, nights.HOUR / 2))
    assert figures.refused > figures.granted
    assert figures.lost > 0
