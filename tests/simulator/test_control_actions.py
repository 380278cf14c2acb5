import asyncio
from datetime import UTC, datetime

import aiohttp
import pytest
from signed_calls import ENDPOINT, QUERY, WANTED, signed
from simulating import chat_body, simulator
from virtual import run_virtual

from arkbatch.core.errors import Halted
from arkbatch.protocol import signing
from arkbatch.simulator.control_actions import LONGEST_LIFE
from arkbatch.simulator.keys import Keys
from arkbatch.simulator.server import Counters, Settings, serve
from arkbatch.simulator.settings import ACCESS_KEY
from arkbatch.transport.auth import AccessKeys
from arkbatch.transport.control_plane import ControlPlane

BATCH = "ep-bi-20260101000000-abcde"


@pytest.mark.parametrize(("token", "status"), [("the-token", 200), ("another", 401), ("", 401)])
def test_a_temporary_access_key_opens_nothing_without_its_token(token, status):
    settings = {"session_tokens": {ACCESS_KEY[0]: "the-token"}}
    found, answer = answered(settings, key=(*ACCESS_KEY, token))
    assert found == status
    assert status == 200 or answer["ResponseMetadata"]["Error"]["Code"] == "InvalidSecretToken"


def answered(settings=(), **how):
    async def main():
        async with simulator(**dict(settings)) as client:
            return await signed(client, **how)

    return run_virtual(main())


def test_a_signed_call_gets_a_key_for_the_endpoint_and_for_the_time_that_was_asked_for():
    status, answer = answered()
    metadata, result = answer["ResponseMetadata"], answer["Result"]
    assert status == 200
    assert (metadata["Action"], metadata["Version"]) == ("GetApiKey", "2024-01-01")
    assert (metadata["Service"], metadata["Region"]) == ("ark", "cn-beijing")
    assert len(metadata["RequestId"]) == 32
    assert result["ApiKey"]
    assert result["ExpiredTime"] == pytest.approx(datetime.now(UTC).timestamp() + 604_800, abs=60)


@pytest.mark.parametrize(
    ("how", "status", "number", "code"),
    [
        ({"query": {**QUERY, "Action": "GetApiKeys"}}, 404, 100008, "InvalidActionOrVersion"),
        ({"query": {**QUERY, "Version": "2020-01-01"}}, 404, 100008, "InvalidActionOrVersion"),
        ({"late": 905}, 400, 100006, "InvalidTimestamp"),
        ({"late": -905}, 400, 100006, "InvalidTimestamp"),
        ({"key": ("AKLTother", ACCESS_KEY[1])}, 401, 100009, "InvalidAccessKey"),
        ({"key": (ACCESS_KEY[0], "wrong")}, 401, 100010, "SignatureDoesNotMatch"),
        ({"sent": b"{}"}, 401, 100010, "SignatureDoesNotMatch"),
        ({"settings": {"powerless": (ACCESS_KEY[0],)}}, 403, 100013, "AccessDenied"),
        ({"realm": signing.Realm(region="cn-shanghai")}, 400, None, "InvalidCredential"),
        ({"body": {**WANTED, "ResourceIds": None}}, 400, 100002, "MissingParameter"),
        ({"body": {**WANTED, "ResourceType": "presetendpoint"}}, 400, 100002, "MissingParameter"),
        ({"body": {**WANTED, "ResourceType": "model"}}, 400, None, "InvalidParameter"),
        ({"body": {**WANTED, "DurationSeconds": LONGEST_LIFE + 1}}, 400, None, "InvalidParameter"),
        ({"body": {**WANTED, "DurationSeconds": "long"}}, 400, None, "InvalidParameter"),
        ({"body": b"[]"}, 400, None, "InvalidParameter"),
        ({"body": b"{"}, 400, None, "InvalidParameter"),
    ],
)
def test_what_is_wrong_has_the_documented_status_number_and_code(how, status, number, code):
    got, answer = answered(**how)
    error = answer["ResponseMetadata"]["Error"]
    assert (got, error.get("CodeN"), error["Code"]) == (status, number, code)
    assert error["Message"]
    assert "Result" not in answer


@pytest.mark.parametrize("late", [-890, 890])
def test_a_clock_that_is_a_little_wrong_passes(late):
    assert answered(late=late)[0] == 200


def test_a_preset_endpoint_is_opened_with_its_project():
    body = {**WANTED, "ResourceType": "presetendpoint", "ResourceIds": ["doubao-x"], "ProjectName": "default"}
    assert answered(body=body)[0] == 200


def test_without_a_signature_nothing_is_given():
    async def main():
        async with simulator() as client, client.session.post(client.url[:-6], params=QUERY, json=WANTED) as reply:
            return reply.status, await reply.json()

    status, answer = run_virtual(main())
    assert (status, answer["ResponseMetadata"]["Error"]["Code"]) == (400, "InvalidAuthorization")


def test_key_calls_are_limited_and_the_limit_passes():
    async def main():
        async with simulator(key_rpm=2) as client:
            statuses = [(await signed(client))[0] for _ in range(3)]
            await asyncio.sleep(61)
            return [*statuses, (await signed(client))[0]], client.counters

    statuses, counters = run_virtual(main())
    assert statuses == [200, 200, 429, 200]
    assert counters.control == {"ok": 3, "FlowLimitExceeded": 1}
    assert counters.calls == 0


def test_a_temporary_key_opens_its_endpoint_and_nothing_else():
    async def main():
        async with simulator(keys=("another",)) as client:
            key = (await signed(client))[1]["Result"]["ApiKey"]
            right = await client.chat(chat_body(model=ENDPOINT), key=key)
            other = await client.chat(chat_body(), key=key)
            forged = await client.chat(chat_body(model=ENDPOINT), key=key[:-1] + "x")
            return right.status, (other.status, other.code), (forged.status, forged.code)

    assert run_virtual(main()) == (200, (403, "AccessDenied"), (401, "AuthenticationError"))


def test_a_temporary_key_runs_out_at_the_time_that_was_told():
    keys = Keys(Settings())
    key = "Bearer " + keys.issue_key(ENDPOINT, 1_000)
    assert keys.check_key(key, 999.9) is None
    assert keys.check_key(key, 1_000.0).status == 401
    assert Keys(Settings()).check_key(key, 0.0) is None, "a simulator that was started again knows its keys"
    assert Keys(Settings(seed=1)).check_key(key, 0.0) is not None


def test_keys_can_be_made_short_lived():
    _, answer = answered({"key_seconds": 60})
    assert answer["Result"]["ExpiredTime"] == pytest.approx(datetime.now(UTC).timestamp() + 60, abs=30)


def test_the_adapter_of_arkbatch_gets_its_key_here():
    async def main(secret):
        async with simulator() as client, aiohttp.ClientSession() as session:
            key = signing.AccessKey(ACCESS_KEY[0], secret)
            wall = lambda: datetime.now(UTC).timestamp()  # noqa: E731
            plane = ControlPlane(session, key, wall, url=client.url)
            return await plane.call("GetApiKey", WANTED)

    assert set(run_virtual(main(ACCESS_KEY[1]))) == {"ApiKey", "ExpiredTime"}
    with pytest.raises(Halted, match="VOLC_SECRETKEY"):
        run_virtual(main("wrong"))


def test_a_week_on_the_batch_lane_is_one_test_with_a_new_key_each_day():
    async def main():
        loop, counters = asyncio.get_running_loop(), Counters()
        wall = lambda: 1_700_000_000 + loop.time()  # noqa: E731
        settings = Settings(key_seconds=86_400, keys=("no other key",), batch_hold=3_600)
        patience = aiohttp.ClientTimeout(total=None)
        async with (
            serve(settings, counters=counters, wall=wall) as url,
            aiohttp.ClientSession(timeout=patience) as session,
            AccessKeys(ControlPlane(session, signing.AccessKey(*ACCESS_KEY), wall, url=url).call, wall) as keys,
        ):
            while loop.time() < 1_000 + 7 * 86_400:
                headers = {"Authorization": await keys.header(BATCH)}
                body = chat_body("still there?", BATCH)
                async with session.post(url + "/batch/chat/completions", json=body, headers=headers) as reply:
                    assert reply.status == 200
        return counters

    counters = run_virtual(main())
    assert counters.outcomes.keys() == {"ok"}
    assert 7 <= counters.control["ok"] <= 9
