"""What a server says about its limits in headers is understood, or left alone."""

import pytest

from arkbatch.protocol.ratelimit_headers import requests_allowed, seconds_of


def headers(remaining=None, reset=None, limit=None):
    said = {"remaining": remaining, "reset": reset, "limit": limit}
    return {f"x-ratelimit-{name}-requests": value for name, value in said.items() if value is not None}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("120ms", 0.12),
        ("17", 17),
        ("1h2m3.5s", 3723.5),
        ("", None),
        ("2026-11-21T00:00:00Z", None),
    ],
)
def test_times_are_read_in_the_ways_that_servers_write_them(text, seconds):
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


def test_a_window_that_ends_grants_what_remains():
    assert requests_allowed(headers("12", "20s", "600")) == (12, 20.0)


def test_an_allowance_that_flows_back_grants_the_whole_limit_in_the_time_until_it_is_full():
    """500 a minute, one call made: full again in 120 ms. Read as a window it would be 4,158 calls a second."""
    assert requests_allowed(headers("499", "120ms", "500")) == (500, 0.12)
    assert requests_allowed(headers("0", "1m0s", "500")) == (500, 60.0)


@pytest.mark.parametrize(
    "said",
    [
        {},
        headers("5"),
        headers("many", "1s"),
        headers("5", "later"),
        headers("5", "0s"),
        headers("5", "9h0m0s"),
    ],
)
def test_what_is_not_understood_says_nothing(said):
    assert requests_allowed(said) is None
