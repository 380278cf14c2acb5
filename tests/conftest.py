"""Settings for all tests: a machine that is busy must not fail them."""

import aiohttp
import pytest
from hypothesis import HealthCheck, settings

from arkbatch.transport import aiohttp_internals as posting

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(params=["pool", "session"])
def either_way(request, monkeypatch):
    """Both ways in which a call is posted."""
    if request.param == "session":
        monkeypatch.setattr(posting, "TESTED", "no version")
    elif not aiohttp.__version__.startswith(posting.TESTED):
        pytest.skip("this aiohttp is only used through its session")
