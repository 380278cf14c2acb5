"""Has a test's calls go by the other of the two ways in which they are posted."""

from arkbatch.transport import aiohttp_trial


def by_session(monkeypatch):
    """Have calls go through aiohttp's session, as with an aiohttp whose inner parts are others."""

    async def changed():
        return "switched off by a test"

    monkeypatch.setattr(aiohttp_trial, "why_unusable", changed)
