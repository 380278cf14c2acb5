"""Keys: where they come from, how they are shared and renewed, and what is said when there is none."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from virtual import run_virtual

from arkbatch.core.calls import Break, Broken
from arkbatch.core.errors import Halted
from arkbatch.core.secret import Secret
from arkbatch.protocol.signing import AccessKey, Request, is_genuine
from arkbatch.transport.auth import AccessKeys, ApiKey, needs_project, resource_type
from arkbatch.transport.control_plane import ControlPlane, fetch_certificate

KEY = AccessKey("AKLTtestaccesskeyid", "c2VjcmV0LW9mLXRoZS10ZXN0cw==")
WEEK = 7 * 86_400
EPOCH = 1_800_000_000


def wall():
    """The service's clock, and ours unless a test sets it."""
    return EPOCH + asyncio.get_running_loop().time()


class Service:
    """A control plane that checks signatures and hands out key-1, key-2 ..."""

    def __init__(self, life=WEEK):
        self.life = life
        self.asked = []
        self.answers = []  # what to answer instead of a key, first come first served
        self.slowness = 0.2

    async def handle(self, request):
        body = await request.read()
        assert is_genuine(Request("POST", request.path, request.query, request.headers, body), KEY.secret)
        assert "X-Content-Sha256" in request.headers
        self.asked.append((request.query["Action"], json.loads(body)))
        number = len(self.asked)
        await asyncio.sleep(self.slowness)
        if self.answers:
            status, answer = self.answers.pop(0)
            return web.Response(status=status, text=answer if isinstance(answer, str) else json.dumps(answer))
        result = {"ApiKey": f"key-{number}", "ExpiredTime": int(wall() + self.life)}
        return web.json_response({"ResponseMetadata": {}, "Result": result})


def refusal(status, code, message="no"):
    return status, {"ResponseMetadata": {"Error": {"CodeN": 1, "Code": code, "Message": message}}}


@asynccontextmanager
async def opened(service, *, project="", wall=wall):
    app = web.Application()
    app.router.add_post("/", service.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with ClientSession() as session:
            control = ControlPlane(session, KEY, wall, url=url)
            async with AccessKeys(control.call, wall, project=project) as keys:
                yield keys
    finally:
        await runner.cleanup()


def play(service, scene, **options):
    async def main():
        async with opened(service, **options) as keys:
            return await scene(keys)

    return run_virtual(main())


def test_an_api_key_is_the_same_for_all_models():
    async def main():
        return await ApiKey(Secret("k")).header("a"), await ApiKey(Secret("k")).header("b")

    assert run_virtual(main()) == ("Bearer k", "Bearer k")
    assert not ApiKey(Secret("k")).refused("a", "Bearer k")
    assert "k-secret" not in repr(ApiKey(Secret("k-secret")))


def test_an_access_key_is_exchanged_for_a_temporary_key():
    service = Service()
    assert play(service, lambda keys: keys.header("ep-1")) == "Bearer key-1"
    question = {"DurationSeconds": WEEK, "ResourceIds": ["ep-1"], "ResourceType": "endpoint"}
    assert service.asked == [("GetApiKey", question)]


def test_a_thousand_workers_share_one_fetch_and_each_model_has_its_own_key():
    async def scene(keys):
        return await asyncio.gather(*(keys.header(f"ep-{n % 2}") for n in range(1000)))

    service = Service()
    assert set(play(service, scene)) == {"Bearer key-1", "Bearer key-2"}
    assert len(service.asked) == 2


def test_a_worker_that_gives_up_does_not_take_the_fetch_along():
    async def scene(keys):
        first = asyncio.create_task(keys.header("ep-1"))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(keys.header("ep-1"))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    service = Service()
    assert play(service, scene) == "Bearer key-1"
    assert len(service.asked) == 1


def test_a_key_is_renewed_in_the_background_while_the_old_one_is_used():
    async def scene(keys):
        await keys.header("ep-1")
        await asyncio.sleep(WEEK - 1799)
        before = asyncio.get_running_loop().time()
        during = [await keys.header("ep-1") for _ in range(3)]
        assert asyncio.get_running_loop().time() == before
        await asyncio.sleep(1)
        return during, await keys.header("ep-1")

    service = Service()
    assert play(service, scene) == (["Bearer key-1"] * 3, "Bearer key-2")
    assert len(service.asked) == 2


def test_near_its_end_a_key_is_waited_for():
    async def scene(keys):
        await keys.header("ep-1")
        await asyncio.sleep(WEEK - 599)
        return await keys.header("ep-1")

    assert play(Service(), scene) == "Bearer key-2"


def test_a_short_life_is_not_renewed_at_each_call():
    """The official client asks again at every call when keys live less than half an hour."""

    async def scene(keys):
        for _ in range(600):
            await keys.header("ep-1")
            await asyncio.sleep(1)

    service = Service(life=60)
    play(service, scene)
    assert 10 <= len(service.asked) <= 21


def test_while_the_service_is_away_the_old_key_serves_and_the_service_is_asked_seldom():
    async def scene(keys):
        await keys.header("ep-1")
        await asyncio.sleep(WEEK - 1800)
        service.answers = [refusal(503, "ServiceUnavailableTemp")] * 1000
        used = set()
        for _ in range(1190):
            used.add(await keys.header("ep-1"))
            await asyncio.sleep(1)
        return used

    service = Service()
    assert play(service, scene) == {"Bearer key-1"}
    assert len(service.asked) < 5 * 1200 / 60 + 10


def test_the_old_key_serves_to_its_very_end_and_then_there_is_none():
    async def scene(keys):
        await keys.header("ep-1")
        await asyncio.sleep(WEEK - 300)
        service.answers = [refusal(503, "ServiceUnavailableTemp")] * 1000
        last = await keys.header("ep-1")
        await asyncio.sleep(300)
        return last, await keys.header("ep-1")

    service = Service()
    last, none = play(service, scene)
    assert last == "Bearer key-1"
    assert isinstance(none, Broken)
    assert none.how is Break.CONNECT


@pytest.mark.parametrize(
    "answer",
    [
        refusal(429, "FlowLimitExceeded"),
        refusal(502, "InternalServiceError"),
        (200, "<html>"),
        (200, {"Result": {}}),
        (200, {"Result": {"ApiKey": "old", "ExpiredTime": EPOCH}}),
        refusal(200, "InternalServiceError"),
    ],
    ids=["rate", "error", "html", "no key", "a key that has run out", "an error inside a 200"],
)
def test_a_passing_trouble_is_no_key_for_now(answer):
    service = Service()
    service.answers = [answer] * 100
    found = play(service, lambda keys: keys.header("ep-1"))
    assert isinstance(found, Broken)
    assert found.how is Break.CONNECT
    assert "GetApiKey" in found.detail


def test_a_passing_trouble_is_tried_again_before_anyone_notices():
    service = Service()
    service.answers = [refusal(502, "InternalServiceError")] * 2
    assert play(service, lambda keys: keys.header("ep-1")) == "Bearer key-3"


def test_a_server_that_never_answers_is_left_after_half_a_minute_a_try():
    async def scene(keys):
        found = await keys.header("ep-1")
        return found, asyncio.get_running_loop().time() - 1000

    service = Service()
    service.slowness = 10**6
    found, seconds = play(service, scene)
    assert isinstance(found, Broken)
    assert seconds == pytest.approx(5 * 30 + 15, abs=1)


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (400, "InvalidTimestamp", "clock"),
        (401, "InvalidAccessKey", "VOLC_ACCESSKEY"),
        (401, "SignatureDoesNotMatch", "VOLC_SECRETKEY"),
        (403, "AccessDenied", "IAM"),
        (400, "InvalidCredential", "VOLC_ACCESSKEY"),
        (401, "InvalidSecretToken", "permanent"),
        (404, "InvalidActionOrVersion", "address"),
        (418, "Teapot", "rights"),
    ],
)
def test_what_waiting_does_not_mend_halts_at_once_and_says_what_to_do(status, code, advice):
    service = Service()
    service.answers = [refusal(status, code)] * 9
    with pytest.raises(Halted, match=code) as halted:
        play(service, lambda keys: keys.header("ep-1"))
    assert advice in str(halted.value)
    assert len(service.asked) == 1


def test_a_wrong_clock_is_measured():
    service = Service()
    service.answers = [refusal(400, "InvalidTimestamp")]
    with pytest.raises(Halted, match=r"our clock is \d+ s (ahead of|behind) the service's"):
        play(service, lambda keys: keys.header("ep-1"))


def test_a_halt_in_the_background_waits_until_the_old_key_is_nearly_over():
    async def scene(keys):
        await keys.header("ep-1")
        await asyncio.sleep(WEEK - 1799)
        service.answers = [refusal(403, "AccessDenied")] * 100
        assert await keys.header("ep-1") == "Bearer key-1"
        await asyncio.sleep(60)
        assert await keys.header("ep-1") == "Bearer key-1"
        await asyncio.sleep(1200)
        await keys.header("ep-1")

    service = Service()
    with pytest.raises(Halted, match="AccessDenied"):
        play(service, scene)


def test_all_who_wait_for_the_key_are_halted_and_the_error_is_not_wrapped():
    async def scene(keys):
        found = await asyncio.gather(*(keys.header("ep-1") for _ in range(3)), return_exceptions=True)
        assert len({id(each) for each in found}) == 3
        raise found[0]

    service = Service()
    service.answers = [refusal(401, "SignatureDoesNotMatch")] * 9
    with pytest.raises(Halted):
        play(service, scene)
    assert len(service.asked) == 1


def test_a_refused_key_is_replaced_once_for_all_workers():
    async def scene(keys):
        old = await keys.header("ep-1")
        assert [keys.refused("ep-1", old) for _ in range(3)] == [True, True, True]
        new = await asyncio.gather(*(keys.header("ep-1") for _ in range(3)))
        assert keys.refused("ep-1", old)  # a late one: there is a fresh key already
        return new, keys.refused("ep-1", new[0]), await keys.header("ep-1")

    service = Service()
    assert play(service, scene) == (["Bearer key-2"] * 3, False, "Bearer key-2")
    assert len(service.asked) == 2


class Ours:
    """A clock of ours that goes wrong by so many seconds."""

    wrong = 0.0

    def __call__(self):
        return wall() + self.wrong


@pytest.mark.parametrize("wrong", [-3 * 86_400.0, 30 * 86_400.0])
def test_a_clock_that_is_set_ends_no_key_and_asks_for_none(wrong):
    ours = Ours()

    async def scene(keys):
        await keys.header("ep-1")
        ours.wrong = wrong
        await asyncio.sleep(86_400)
        return await keys.header("ep-1")

    service = Service()
    assert play(service, scene, wall=ours) == "Bearer key-1"
    assert len(service.asked) == 1


@pytest.mark.parametrize("wrong", [-86_400.0, 86_400.0])
def test_a_key_that_ran_out_by_the_services_clock_is_replaced_whatever_ours_shows(wrong):
    ours = Ours()

    async def scene(keys):
        for _ in range(3):
            old = await keys.header("ep-1")
            ours.wrong += wrong
            await asyncio.sleep(400)
            assert keys.refused("ep-1", old)
        return await keys.header("ep-1")

    assert play(Service(), scene, wall=ours) == "Bearer key-4"


def test_a_key_that_served_for_days_may_be_replaced_again():
    async def scene(keys):
        for _ in range(3):
            assert keys.refused("ep-1", await keys.header("ep-1"))
            await keys.header("ep-1")
            await asyncio.sleep(3600)

    service = Service()
    play(service, scene)
    assert len(service.asked) == 4


@pytest.mark.parametrize(
    ("model", "kind", "project"),
    [
        ("ep-20250101-abcde", "endpoint", False),
        ("ep-bi-20250101-abcde", "endpoint", False),
        ("ep-m-20250101-abcde", "presetendpoint", True),
        ("bot-1", "bot", False),
        ("doubao-seed-1-6-251015", "presetendpoint", True),
    ],
)
def test_what_a_model_is_to_the_control_plane(model, kind, project):
    assert (resource_type(model), needs_project(model)) == (kind, project)


def test_a_plain_model_id_asks_for_its_project():
    service = Service()
    with pytest.raises(Halted, match="project"):
        play(service, lambda keys: keys.header("doubao-seed-1-6-251015"))
    assert service.asked == []


def test_the_project_is_sent():
    service = Service()
    play(service, lambda keys: keys.header("doubao-seed-1-6-251015"), project="default")
    assert service.asked[0][1] == {
        "DurationSeconds": WEEK,
        "ProjectName": "default",
        "ResourceIds": ["doubao-seed-1-6-251015"],
        "ResourceType": "presetendpoint",
    }


@pytest.mark.parametrize(("confidential", "kind"), [(False, {}), (True, {"Type": "AICCv0.1"})])
def test_a_certificate_is_fetched_with_the_same_signature(confidential, kind):
    service = Service()
    service.answers = [(200, {"Result": {"PCAInstanceCertificate": "PEM"}})]

    async def scene(keys):
        return await fetch_certificate(keys._ask.__self__, "ep-1", confidential=confidential)

    assert play(service, scene) == "PEM"
    assert service.asked == [("GetEndpointCertificate", {"Id": "ep-1", **kind})]


def test_a_certificate_that_is_missing_from_the_answer_is_told():
    service = Service()

    async def scene(keys):
        return await fetch_certificate(keys._ask.__self__, "ep-1")

    assert isinstance(play(service, scene), Broken)


def test_no_key_or_secret_in_anything_that_is_printed(caplog):
    caplog.set_level(logging.DEBUG)
    service = Service()
    service.answers = [refusal(401, "SignatureDoesNotMatch", f"bad signature of {KEY.id}")]
    shown = []

    async def scene(keys):
        with pytest.raises(Halted) as halted:
            await keys.header("ep-1")
        await keys.header("ep-1")
        shown.extend([str(halted.value), repr(halted.value), repr(keys), repr(keys._keys), repr(keys._ask)])

    play(service, scene)
    text = "".join(shown) + caplog.text
    for secret in (KEY.id, KEY.secret, "key-2"):
        assert secret not in text


def test_leaving_does_not_wait_for_a_renewal_under_way():
    async def scene(keys):
        await keys.header("ep-1")
        await asyncio.sleep(WEEK - 1799)
        service.slowness = 10**6
        await keys.header("ep-1")
        await asyncio.sleep(1)

    service = Service()
    play(service, scene)
