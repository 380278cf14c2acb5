from datetime import UTC, datetime

import orjson
import pytest
from signed_calls import QUERY, signed
from simulating import PLAIN, THINKING, ask, chat_body, simulator
from virtual import run_virtual

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives.asymmetric import ec

from arkbatch.protocol import encryption as sealing
from arkbatch.protocol.encrypted_fields import open_choices, seal_messages
from arkbatch.protocol.encryption import Certificate, Unfit
from arkbatch.protocol.sse import Parser
from arkbatch.protocol.stream import Folding

SECRET = "天空为什么这么蓝？Please say."
IMAGE = "data:image/png;base64,iVBORw0KGgo="
PATH = "/e2e/get/certificate"


def certificate(confidential=False, **settings):
    kind = {"type": sealing.AICC} if confidential else {}
    reply = ask({"model": THINKING, **kind}, PATH, **settings)
    return sealing.read_certificate(reply.json["Certificate"], datetime.now(UTC), confidential=confidential)


def sealed(body, confidential=False, headers=(), **settings):
    """The reply to a sealed call, its secret, and what was sent."""

    async def main():
        async with simulator(**settings) as client:
            kind = {"type": sealing.AICC} if confidential else {}
            pem = (await client.post(PATH, {"model": body["model"], **kind})).json["Certificate"]
            found = sealing.read_certificate(pem, datetime.now(UTC), confidential=confidential)
            seal = sealing.seal_for_call(found, ec.generate_private_key(ec.SECP256R1()))
            told = sealing.sealing_headers(found, seal, confidential=confidential) | dict(headers)
            sent = seal_messages(body, seal.encrypt_text)
            return await client.chat(sent, headers=told), seal, sent

    return run_virtual(main())


def folded(raw):
    parser, folding = Parser(), Folding()
    for event in [*parser.feed(raw), *parser.close()]:
        folding.add(event)
    return folding.end().body


@pytest.mark.parametrize("confidential", [False, True])
def test_the_certificate_passes_the_checks_of_arkbatch(confidential):
    found = certificate(confidential)
    assert isinstance(found, Certificate)
    assert bool(found.ring_id) == bool(found.key_id) == confidential


def test_a_cached_certificate_still_fits_after_a_restart_but_not_another_seed():
    assert certificate().public_key == certificate().public_key
    assert certificate().public_key != certificate(seed=1).public_key


@pytest.mark.parametrize(("kind", "said"), [("expired", "expired"), ("wrong_curve", "P-256")])
def test_a_certificate_that_must_not_be_used_can_be_served(kind, said):
    found = certificate(certificate=kind)
    assert isinstance(found, Unfit)
    assert said in found.reason


def test_a_refused_certificate_is_an_error_in_a_200():
    reply = ask({"model": THINKING}, PATH, certificate="refused")
    assert (reply.status, reply.json["Certificate"]) == (200, "")
    assert all(isinstance(value, str) for value in reply.json["error"].values())


@pytest.mark.parametrize(
    ("body", "key", "status"), [({"model": "unknown-x"}, "k", 404), ({}, "k", 400), ({"model": "m"}, "", 401)]
)
def test_a_certificate_needs_a_key_and_a_model(body, key, status):
    assert ask(body, PATH, key=key).status == status


@pytest.mark.parametrize("confidential", [False, True])
@pytest.mark.parametrize("blobs", [1, 2, 5])
@pytest.mark.parametrize("model", [PLAIN, THINKING])
def test_a_sealed_call_gets_the_answer_that_it_gets_in_clear(confidential, blobs, model):
    body = chat_body(SECRET, model)
    reply, seal, _ = sealed(body, confidential, blobs=blobs)
    [choice] = reply.json["choices"]
    assert "模拟" not in choice["message"]["content"]
    assert open_choices(reply.json, seal)["choices"] == ask(body).json["choices"]
    assert reply.json["usage"] == ask(body).json["usage"]


def test_reasoning_comes_in_clear():
    reply, _, _ = sealed(chat_body(SECRET, THINKING))
    assert "模拟" in reply.json["choices"][0]["message"]["reasoning_content"]


@pytest.mark.parametrize("blobs", [1, 3])
def test_a_sealed_stream_folds_to_the_same_answer(blobs):
    reply, seal, _ = sealed(chat_body(SECRET, THINKING, stream=True), blobs=blobs)
    opened = open_choices(folded(reply.raw), seal)
    assert opened["choices"] == ask(chat_body(SECRET, THINKING)).json["choices"]


def test_each_content_of_a_sealed_stream_opens_by_itself():
    reply, seal, _ = sealed(chat_body(SECRET, THINKING, stream=True))
    parts = [orjson.loads(line[6:]) for line in reply.raw.split(b"\n\n") if line and not line.endswith(b"[DONE]")]
    contents = [part["choices"][0]["delta"]["content"] for part in parts]
    assert all(len(content) >= 24 for content in contents), "the official SDK fails over an empty one"
    assert all(isinstance(sealing.open_text(content, seal), str) for content in contents)


def test_all_sealed_parts_are_opened():
    content = [
        {"type": "text", "text": SECRET},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    ]
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": content}, {"role": "assistant"}]
    body = {"model": PLAIN, "messages": messages}
    reply, seal, sent = sealed(body)
    assert IMAGE.encode() not in orjson.dumps(sent)
    assert open_choices(reply.json, seal)["choices"] == ask(body).json["choices"]


def test_a_marker_works_from_inside_a_sealed_prompt():
    reply, _, _ = sealed(chat_body("Hello [[fault:server_error]]"))
    assert reply.status == 500


def test_an_answer_that_moderation_cut_off_comes_in_clear():
    reply, _, _ = sealed(chat_body(), faults={"content_filter": 1})
    assert reply.json["choices"][0]["message"]["content"] == ""
    reply, _, _ = sealed(chat_body(stream=True), faults={"content_filter": 1})
    assert b'"content":""},"finish_reason":"content_filter"' in reply.raw


@pytest.mark.parametrize(
    ("fault", "said"), [("reply_in_clear", "not encrypted"), ("wrong_seal", "cannot be decrypted")]
)
def test_a_reply_can_come_in_clear_or_under_another_key(fault, said):
    reply, seal, _ = sealed(chat_body(SECRET), faults={fault: 1})
    opened = open_choices(reply.json, seal)
    assert isinstance(opened, Unfit)
    assert said in opened.reason


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"X-Session-Token": "x"}, "X-Session-Token"),
        ({"X-Session-Token": ""}, "X-Session-Token"),
        ({"X-Encrypt-Info": ""}, "X-Encrypt-Info"),
        ({"X-Encrypt-Info": "[]"}, "X-Encrypt-Info"),
        ({"X-Encrypt-Info": '{"ExpireTime": 1, "Version": "AICCv0.1", "KeyID": "x"}'}, "X-Encrypt-Info"),
    ],
)
def test_a_sealed_call_with_wrong_headers_is_refused(headers, param):
    reply, _, _ = sealed(chat_body(), headers=headers)
    assert (reply.status, reply.json["error"]["param"]) == (400, param)


def test_a_prompt_in_clear_that_claims_to_be_sealed_is_refused():
    async def main():
        async with simulator() as client:
            pem = (await client.post(PATH, {"model": PLAIN})).json["Certificate"]
            found = sealing.read_certificate(pem, datetime.now(UTC), confidential=False)
            seal = sealing.seal_for_call(found, ec.generate_private_key(ec.SECP256R1()))
            return await client.chat(
                chat_body(SECRET), headers=sealing.sealing_headers(found, seal, confidential=False)
            )

    reply = run_virtual(main())
    assert (reply.status, reply.json["error"]["param"]) == (400, "messages")


def test_embeddings_cannot_be_sealed():
    reply = ask({"model": "m", "input": "x"}, "/embeddings", headers={"x-is-encrypted": "true"})
    assert reply.code == "InvalidParameter.UnsupportedParameter"


def test_the_control_plane_gives_the_same_certificate():
    async def main():
        async with simulator() as client:
            pem = (await client.post(PATH, {"model": PLAIN})).json["Certificate"]
            query = QUERY | {"Action": "GetEndpointCertificate"}
            return pem, await signed(client, {"Id": "ep-20260101000000-abcde"}, query), await signed(client, {}, query)

    pem, (status, answer), (wrong, _) = run_virtual(main())
    read = [
        sealing.read_certificate(p, datetime.now(UTC), confidential=False)
        for p in (pem, answer["Result"]["PCAInstanceCertificate"])
    ]
    assert status == 200
    assert read[0].public_key == read[1].public_key
    assert wrong == 400
