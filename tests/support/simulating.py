"""A real client and the simulator in one virtual-time loop, for the tests of the simulator."""

from contextlib import asynccontextmanager

import aiohttp
from virtual import run_virtual

from arkbatch.simulator.server import Counters, Settings, serve

PLAIN = "doubao-1-5-pro-32k-250115"
THINKING = "doubao-seed-1-6-251015"


def chat_body(text="Why is the sky blue?", model=PLAIN, **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


class Heard:
    """A reply as the client got it."""

    def __init__(self, status, headers, raw, at):
        self.status, self.headers, self.raw, self.at = status, headers, raw, at

    @property
    def json(self):
        import orjson

        return orjson.loads(self.raw)

    @property
    def code(self):
        return self.json["error"]["code"]


class Client:
    def __init__(self, session, url, counters):
        self.session, self.url, self.counters = session, url, counters

    async def post(self, path, body, headers=(), key="any-key"):
        import asyncio

        headers = {"Authorization": f"Bearer {key}", **dict(headers)} if key is not None else dict(headers)
        how = {"data": body} if isinstance(body, bytes) else {"json": body}
        url = path if path.startswith("http") else self.url + path
        async with self.session.post(url, headers=headers, **how) as reply:
            raw = await reply.read()
            return Heard(reply.status, reply.headers, raw, asyncio.get_running_loop().time())

    async def chat(self, body, **how):
        return await self.post("/chat/completions", body, **how)

    async def embed(self, body, **how):
        return await self.post("/embeddings", body, **how)


@asynccontextmanager
async def simulator(patience=300, **settings):
    counters = Counters()
    async with (
        serve(Settings(**settings), counters=counters) as url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience)) as session,
    ):
        yield Client(session, url, counters)


def ask(body, path="/chat/completions", headers=(), key="any-key", **settings):
    """The reply to one call of a fresh simulator."""

    async def main():
        async with simulator(**settings) as client:
            return await client.post(path, body, headers=headers, key=key)

    return run_virtual(main())
