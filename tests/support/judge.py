"""The official SDK as the judge: the simulator and a tap in a thread of their own, for the SDK blocks.

Needs the extra `arkbatch[judge]`; test modules that import this one are skipped without it.
"""

import asyncio
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("volcenginesdkarkruntime", reason="the official SDK is not installed: pip install -e '.[judge]'")

import volcenginesdkarkruntime as runtime
from volcenginesdkarkruntime import _client
from wiretap import Tap

from arkbatch.simulator.server import Counters, Settings, serve
from arkbatch.simulator.settings import ACCESS_KEY

MODEL = "doubao-seed-1-6-251015"
ENDPOINT = "ep-20260101000000-abcde"
BATCH = "ep-bi-20260101000000-abcde"
ASKED = [{"role": "user", "content": "天空为什么这么蓝？"}]
USAGE = {"include_usage": True}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["北京"]}}}},
}


class Site:
    """A simulator that runs in a thread of its own, for the SDK blocks. `counters` and `tap` are read after a call.

    Its calendar stands still, so that who asks twice for a key or a certificate is given the same.
    """

    def __init__(self, settings):
        self.settings, self.counters, self.tap = settings, Counters(), Tap()
        self.up, self._client = threading.Event(), None

    def run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        began = time.time()
        async with (
            serve(self.settings, counters=self.counters, wall=lambda: began) as direct,
            self.tap.on(direct) as self.url,
        ):
            self.up.set()
            await self.over.wait()

    def client(self, kind=runtime.Ark, **how):
        """With a key, one and the same: making one reads all certificates of the system, a tenth of a second."""
        if kind is runtime.Ark and not how:
            self._client = self._client or kind(base_url=self.url, api_key="any")
            return self._client
        return kind(base_url=self.url, **(how or {"api_key": "any"}))

    def signing_client(self, secret=ACCESS_KEY[1], kind=runtime.Ark, token=""):
        """A client with an access key. Its control plane is not configurable, so it is pointed here from inside."""
        client = self.client(kind, ak=ACCESS_KEY[0], sk=secret)
        client._sts_token_manager = _client.StsTokenManager(ACCESS_KEY[0], secret, "cn-beijing")
        client._certificate_manager = _client.E2ECertificateManager(ACCESS_KEY[0], secret, "cn-beijing", self.url, None)
        for manager in (client._sts_token_manager, client._certificate_manager):
            configuration = manager.api_instance.api_client.configuration
            configuration.host, configuration.schema = self.url.removeprefix("http://").removesuffix("/api/v3"), "http"
            configuration.auto_retry, configuration.session_token = False, token
        return client


@contextmanager
def site(**settings):
    site = Site(Settings(**settings))
    thread = threading.Thread(target=site.run)
    thread.start()
    assert site.up.wait(30)
    try:
        yield site
    finally:
        site.loop.call_soon_threadsafe(site.over.set)
        thread.join(30)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The SDK keeps certificates under the home directory, and reads its keys from the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ARK_API_KEY", "VOLC_ACCESSKEY", "VOLC_SECRETKEY", "VOLC_ARK_ENCRYPTION", "E2E_CERTIFICATE_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def here():
    with site() as found:
        yield found
