"""Makes sealing.json with the official SDK as the judge; run in an environment of its own, not in ours:

pip install volcengine-ark-runtime==5.0.54 cryptography msgspec && python make_sealing.py

The service's side is a key and certificates made here. Nothing in the file is secret.
"""

import asyncio
import datetime as dt
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from volcenginesdkarkruntime._utils import _key_agreement as sdk
from volcenginesdkarkruntime.resources import encryption

sys.path.insert(0, str(Path(__file__).parents[2]))
from arkbatch.protocol import encryption as sealing

FROM, TO = dt.datetime(2024, 1, 3, tzinfo=dt.UTC), dt.datetime(2029, 1, 3, 6, 52, 38, tzinfo=dt.UTC)
MESSAGES = [
    {"role": "system", "content": ""},
    {"role": "user", "content": "你好, Ark"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "什么?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4", "fps": 1}},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "content": "42", "tool_call_id": "c"},
]
REPLIES = [["一"], ["你好"], ["你", "好", "呀!"], ["abcdefgh"] * 3, ["ab", "abcde", "", "x" * 500], ["字" * 700, "ab"]]


def pem(key, names=()):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MaaS Crypto SDK Online")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(FROM).not_valid_after(TO)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def sealed_by_sdk(certificate):
    """What the SDK would send, and its own secret for the reply."""
    client = sdk.key_agreement_client(certificate)
    ark = SimpleNamespace(_client=SimpleNamespace(_get_endpoint_certificate=lambda _: client))
    kwargs = {"model": "ep-x", "messages": MESSAGES, "extra_headers": {"x-is-encrypted": "true"}}
    _, key, nonce = encryption._content_encryption([ark], kwargs)
    return {"headers": kwargs["extra_headers"], "messages": kwargs["messages"]}, key, nonce


def opened_by_sdk(key, nonce, content):
    message = SimpleNamespace(content=content)
    choice = SimpleNamespace(message=message, finish_reason="stop")
    reply = encryption.ChatCompletion.construct(choices=[choice])
    return asyncio.run(encryption._async_decrypt(key, nonce, reply)).choices[0].message.content


def main():
    private = ec.generate_private_key(ec.SECP256R1())
    plain, aicc = pem(private), pem(private, ["ring.R-7", "key.K-9"])
    requests = {"plain": sealed_by_sdk(plain)[0]}
    os.environ["VOLC_ARK_ENCRYPTION"] = "AICC"
    requests["aicc"], key, nonce = sealed_by_sdk(aicc)
    replies = []
    for texts in REPLIES:
        content = "".join(sdk.aes_gcm_encrypt_base64_string(key, nonce, text) for text in texts)
        assert opened_by_sdk(key, nonce, content) == "".join(texts), texts
        replies.append({"content": content, "text": "".join(texts)})

    scalar = 0x1F2E3D4C5B6A79880102030405060708A1B2C3D4E5F60718293A4B5C6D7E8F90
    ephemeral = ec.derive_private_key(scalar, ec.SECP256R1())
    seal = sealing.seal_for_call(sealing.read_certificate(plain, FROM, confidential=False), ephemeral)
    ours = {text: seal.encrypt_text(text) for text in ("", "a", "你好, Ark", "x" * 100)}
    for text, closed in ours.items():
        assert sdk.aes_gcm_decrypt_base64_string(seal.key, seal.nonce, closed) == text

    secret = private.private_numbers().private_value
    out = {
        "made_by": "make_sealing.py with volcengine-ark-runtime 5.0.54",
        "service_key": f"{secret:x}",
        "certificates": {"plain": plain, "aicc": aicc},
        "messages": MESSAGES,
        "sdk_requests": requests,
        "sdk_opened_replies": {"token": requests["aicc"]["headers"]["X-Session-Token"], "replies": replies},
        "sdk_opened_ours": {"ephemeral": f"{scalar:x}", "token": seal.token, "fields": ours},
    }
    path = Path(__file__).with_name("sealing.json")
    path.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


main()
