"""Encryption, with the official SDK as the judge in both directions (see data/make_sealing.py)."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from arkbatch.protocol import encryption as sealing
from arkbatch.protocol.encrypted_fields import open_choices, seal_messages
from arkbatch.protocol.encryption import Certificate, Seal, Unfit

SDK = json.loads((Path(__file__).parents[1] / "data" / "sealing.json").read_text(encoding="utf-8"))
SERVICE = ec.derive_private_key(int(SDK["service_key"], 16), ec.SECP256R1())
PLAIN, CONFIDENTIAL = SDK["certificates"]["plain"], SDK["certificates"]["aicc"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SEAL = Seal(b"k" * 32, b"n" * 12, "")


@pytest.mark.parametrize("flavour", ["plain", "aicc"])
def test_what_the_sdk_seals_opens_with_our_arithmetic(flavour):
    request = SDK["sdk_requests"][flavour]
    seal = sealing.seal_from_token(request["headers"]["X-Session-Token"], SERVICE)
    opened = json.loads(json.dumps(request["messages"]))
    for message in opened:
        if isinstance(message["content"], str):
            message["content"] = sealing.open_text(message["content"], seal)
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "text":
                part["text"] = sealing.open_text(part["text"], seal)
            if part["type"] == "image_url" and not part["image_url"]["url"].startswith("https:"):
                part["image_url"]["url"] = sealing.open_text(part["image_url"]["url"], seal)
    assert opened == SDK["messages"]


@pytest.mark.parametrize(("flavour", "confidential"), [("plain", False), ("aicc", True)])
def test_with_the_sdks_secret_we_send_what_the_sdk_sends(flavour, confidential):
    request = SDK["sdk_requests"][flavour]
    seal = sealing.seal_from_token(request["headers"]["X-Session-Token"], SERVICE)
    certificate = sealing.read_certificate(SDK["certificates"][flavour], NOW, confidential=confidential)
    assert seal_messages({"messages": SDK["messages"]}, seal.encrypt_text) == {"messages": request["messages"]}
    assert sealing.sealing_headers(certificate, seal, confidential=confidential) == request["headers"]


def test_the_sdk_opened_what_we_sealed():
    """The generator checked these with the SDK; here they must come out the same."""
    expected = SDK["sdk_opened_ours"]
    certificate = sealing.read_certificate(PLAIN, NOW, confidential=False)
    seal = sealing.seal_for_call(certificate, ec.derive_private_key(int(expected["ephemeral"], 16), ec.SECP256R1()))
    assert seal.token == expected["token"]
    assert {text: seal.encrypt_text(text) for text in expected["fields"]} == expected["fields"]


@pytest.mark.parametrize("reply", SDK["sdk_opened_replies"]["replies"], ids=lambda reply: reply["text"][:12])
def test_replies_of_several_blobs_open_as_in_the_sdk(reply):
    seal = sealing.seal_from_token(SDK["sdk_opened_replies"]["token"], SERVICE)
    assert sealing.open_text(reply["content"], seal) == reply["text"]


def test_both_sides_agree_on_a_new_secret_for_each_call():
    certificate = sealing.read_certificate(PLAIN, NOW, confidential=False)
    seals = [sealing.seal_for_call(certificate, ec.generate_private_key(ec.SECP256R1())) for _ in range(2)]
    assert [sealing.seal_from_token(seal.token, SERVICE) for seal in seals] == seals
    assert seals[0].key != seals[1].key
    assert len(seals[0].token) == 88


@given(st.lists(st.text()))
def test_any_row_of_sealed_texts_opens(texts):
    assert sealing.open_text("".join(SEAL.encrypt_text(text) for text in texts), SEAL) == "".join(texts)


def test_long_unpadded_texts_in_a_row_open_in_linear_time():
    """Trying each end would read 2 x 10^11 bytes."""
    texts = ["字" * 250_000 + "xy", "y" * 900_002, "z" * 900_002]
    row = "".join(SEAL.encrypt_text(text) for text in texts)
    assert "=" not in row
    began = time.process_time()
    assert sealing.open_text(row, SEAL) == "".join(texts)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("at", [0, 450_000, 899_990, 900_010])
def test_a_changed_byte_is_found_and_costs_no_more(at):
    sealed = bytearray(base64.b64decode(SEAL.encrypt_text("y" * 900_002)))
    sealed[at] ^= 1
    began = time.process_time()
    assert isinstance(sealing.open_text(base64.b64encode(sealed).decode(), SEAL), Unfit)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Hello, how can I help?", "not encrypted"),
        ("你好", "not encrypted"),
        ("word", "cannot be decrypted"),
        ("abcde", "not encrypted"),
        ([{"type": "text", "text": "hi"}], "not encrypted"),
        (Seal(b"x" * 32, b"n" * 12, "").encrypt_text("hi"), "cannot be decrypted"),
        (Seal(b"k" * 32, b"x" * 12, "").encrypt_text("hi"), "cannot be decrypted"),
        (SEAL.encrypt_text("hi") + "clear", "not encrypted"),
    ],
    ids=["english", "chinese", "looks like base64", "bad length", "parts", "other key", "other nonce", "half in clear"],
)
def test_a_reply_in_clear_or_under_another_key_is_an_error(reply, reason):
    opened = open_choices({"choices": [{"message": {"content": reply}, "finish_reason": "stop"}]}, SEAL)
    assert isinstance(opened, Unfit)
    assert reason in opened.reason


def test_what_the_service_never_seals_stays_as_it_is():
    message = {"content": None, "tool_calls": [{"id": "c"}], "reasoning_content": "hm"}
    reply = {
        "usage": {"total_tokens": 1},
        "choices": [
            {"message": message, "finish_reason": "tool_calls"},
            {"message": {"content": "blocked"}, "finish_reason": "content_filter"},
            {"message": {"content": ""}, "finish_reason": "stop"},
        ],
    }
    assert open_choices(reply, SEAL) == reply


@pytest.mark.parametrize("body", [{"error": {"code": "x"}}, {"choices": None}, {"choices": ["x"]}, {"choices": [{}]}])
def test_a_reply_without_answers_is_left_to_the_verdict(body):
    assert open_choices(body, SEAL) == body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([{"type": "image_url", "image_url": {"url": "tos://bucket/a.png"}}], "neither"),
        ([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}], "neither"),
        ([{"type": "image_url", "image_url": {"url": "iVBORw0KGgo="}}], "neither"),
        ([{"type": "image_url", "image_url": "data:image/png;base64,AA=="}], "neither"),
        ([{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA=="}}], "neither"),
        ([{"type": "input_audio", "input_audio": {"data": "AA=="}}], "input_audio"),
        ([{"type": "text", "text": "ok"}, {"type": "file", "file": {}}], "[1] is a part of type file"),
        ([{"type": "text", "text": None}], "type text"),
        ([{"text": "no type"}], "no part"),
        (["plain"], "no part"),
        ({"text": "x"}, "neither"),
        (7, "neither"),
    ],
)
def test_what_cannot_be_sealed_is_refused_with_its_place(content, reason):
    refused = seal_messages({"messages": [{"role": "user", "content": content}]}, SEAL.encrypt_text)
    assert isinstance(refused, Unfit)
    assert refused.reason.startswith("messages[0].content")
    assert reason in refused.reason


@pytest.mark.parametrize("body", [{}, {"messages": "x"}, {"messages": ["x"]}, {"messages": {"a": "b"}}])
def test_a_body_without_messages_is_refused(body):
    assert isinstance(seal_messages(body, SEAL.encrypt_text), Unfit)


def test_the_callers_body_is_not_touched():
    body = {"messages": json.loads(json.dumps(SDK["messages"]))}
    seal_messages(body, SEAL.encrypt_text)
    assert body == {"messages": SDK["messages"]}


def certificate(key, start=NOW - timedelta(days=1), end=NOW + timedelta(days=1)):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(end)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("pem", "confidential", "reason"),
    [
        ("", False, "cannot be read"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", False, "cannot be read"),
        (certificate(ec.generate_private_key(ec.SECP384R1())), False, "P-256"),
        (certificate(rsa.generate_private_key(65537, 2048)), False, "P-256"),
        (certificate(SERVICE, NOW - timedelta(days=2), NOW - timedelta(days=1)), False, "expired on 2025-12-31 00:00"),
        (certificate(SERVICE, NOW + timedelta(days=1), NOW + timedelta(days=2)), False, "valid only from 2026-01-02"),
        (PLAIN, True, "confidential"),
    ],
    ids=["empty", "garbage", "P-384", "RSA", "expired", "not yet valid", "no ring and key"],
)
def test_a_certificate_is_checked_before_it_is_used(pem, confidential, reason):
    unfit = sealing.read_certificate(pem, NOW, confidential=confidential)
    assert isinstance(unfit, Unfit)
    assert reason in unfit.reason


def test_a_confidential_certificate_names_its_ring_and_key():
    found = sealing.read_certificate(CONFIDENTIAL, NOW, confidential=True)
    assert isinstance(found, Certificate)
    assert (found.ring_id, found.key_id) == ("R-7", "K-9")


@pytest.mark.parametrize("token", ["", "AAAA", "BA==", base64.b64encode(b"\4" + b"\1" * 64).decode(), "ü"])
def test_a_token_that_is_no_point_on_the_curve_is_refused(token):
    assert isinstance(sealing.seal_from_token(token, SERVICE), Unfit)


def test_no_key_in_a_repr():
    assert "kkk" not in repr(SEAL)
