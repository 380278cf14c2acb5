"""Signed calls of the control plane, by hand."""

from datetime import UTC, datetime, timedelta

import orjson

from arkbatch.protocol import signing
from arkbatch.simulator.settings import ACCESS_KEY

ENDPOINT = "ep-20260101000000-abcde"


QUERY = {"Action": "GetApiKey", "Version": "2024-01-01"}


REALM = signing.Realm()


WANTED = {"DurationSeconds": 604_800, "ResourceIds": [ENDPOINT], "ResourceType": "endpoint"}


async def signed(client, body=WANTED, query=QUERY, key=ACCESS_KEY, realm=REALM, late=0.0, sent=None):
    """The answer to one signed call; `sent` goes out in the place of what was signed."""
    raw = orjson.dumps(body) if isinstance(body, dict) else body
    root = client.url.removesuffix("api/v3")
    host = root.removeprefix("http://").rstrip("/")
    request = signing.Request("POST", "/", query, {"Content-Type": "application/json"}, raw)
    now = datetime.now(UTC) + timedelta(seconds=late)
    headers = signing.sign_request(request, host, signing.AccessKey(*key), realm, now)
    async with client.session.post(root, params=query, data=sent or raw, headers=headers) as reply:
        return reply.status, orjson.loads(await reply.read())
