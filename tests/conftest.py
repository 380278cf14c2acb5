"""Settings for all tests: a machine that is busy must not fail them."""

import pytest
from http_paths import by_session
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(params=["direct", "session"])
def either_way(request, monkeypatch):
    """Both ways in which a call is posted."""
    if request.param == "session":
        by_session(monkeypatch)
