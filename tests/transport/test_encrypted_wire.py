"""Nothing of an encrypted run leaves in clear, for every failure that can be provoked, read off the wire byte by byte.

Each test first makes sure that its failure really struck. What a whole run does when all is well, and what is refused
before one begins, is told in `test_encrypted_runs`; the same for the transport alone in `test_sealed`.
"""

import asyncio
import time
from base64 import encodebytes
from datetime import UTC, datetime

import pytest
from sealed_runs import BATCH, SECRET, leaked, ran, secrets, traces

pytest.importorskip("cryptography")

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from arkbatch.core.errors import UsageError
from arkbatch.protocol import encryption as sealing
from arkbatch.simulator import broken_connections
from arkbatch.simulator.encryption import Vault
from arkbatch.simulator.faults import MENU
from arkbatch.simulator.server import Counters
from arkbatch.simulator.service import Simulator
from arkbatch.simulator.settings import ACCESS_KEY

# These end a run, so that each needs a run of its own.
HALTING = ("unauthorized", "overdue", "not_open", "free_quota", "set_limit")
GONE = dict.fromkeys(("stall", "stall_inside"), "client_gone")  # what becomes of these
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
WAYS = {
    "plain": {},
    "plain, streamed": {"stream": True},
    "AICC": {"environ": {"VOLC_ARK_ENCRYPTION": "AICC"}},
    "AICC, streamed": {"environ": {"VOLC_ARK_ENCRYPTION": "AICC"}, "stream": True},
    "batch lane": {"model": BATCH, "lane": "batch"},
    "access key": {"environ": dict(zip(("VOLC_ACCESSKEY", "VOLC_SECRETKEY"), ACCESS_KEY, strict=True))},
}


def test_the_traces_would_be_found():
    clear = " ".join(str(secrets()).split()).encode()
    assert len(traces()) == 6
    assert leaked(clear)
    assert leaked(b'"' + b"".join(traces()[3:4]))
    assert not leaked(b"anything else")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_whole_fault_menu(tmp_path, way):
    """One row for each fault, which strikes its first call. It is asked for by a field that is not sealed."""
    counters = Counters()
    faults = [name for name in MENU if name not in HALTING]
    rows = [secrets(number, user=f"[[fault:{name}:1]]", tools=[TOOL]) for number, name in enumerate(faults)]
    summary, heard = ran(tmp_path, *rows, counters=counters, max_attempts=5, timeout=60, **way)
    assert summary.succeeded + summary.failed == len(faults)
    struck = set(counters.outcomes)
    expected = {MENU[name].refusal.code if MENU[name].refusal else GONE.get(name, name) for name in faults}
    assert expected <= struck
    assert leaked(heard) == []
    assert heard.count(b"/chat/completions HTTP") == heard.count(b"x-is-encrypted: true") > len(faults)


@pytest.mark.parametrize("fault", HALTING)
@pytest.mark.parametrize("way", ["plain", "AICC, streamed"])
def test_what_halts_a_run(tmp_path, fault, way):
    summary, heard = ran(tmp_path, secrets(), settings={"faults": {fault: 1.0}}, **WAYS[way])
    assert (summary.succeeded, summary.ending) == (0, "halted")
    assert leaked(heard) == []


def pem(key, *, of=-1, until=1, names=()):
    """A certificate signed by itself; `of` and `until` are days from now."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another.example")])
    now = int(time.time())
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(_day(now, of))
        .not_valid_after(_day(now, until))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


def _day(now, days):
    return datetime.fromtimestamp(now + days * 86_400, UTC)


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def off_the_curve():
    """A P-256 certificate whose point was bent, so that no secret can be agreed on."""
    der = x509.load_pem_x509_certificate(pem(p256()).encode()).public_bytes(serialization.Encoding.DER)
    begin = der.index(bytes.fromhex("03420004")) + 4
    bent = der[:begin] + bytes(byte ^ 1 for byte in der[begin : begin + 32]) + der[begin + 32 :]
    return pem_of(bent)


def pem_of(der):
    return f"-----BEGIN CERTIFICATE-----\n{encodebytes(der).decode()}-----END CERTIFICATE-----\n"


BOTH_NAMES = ("ring.r", "key.k")
UNUSABLE = {
    "expired": lambda: pem(p256(), of=-9, until=-1, names=BOTH_NAMES),
    "not valid yet": lambda: pem(p256(), of=1, until=9, names=BOTH_NAMES),
    "P-384": lambda: pem(ec.generate_private_key(ec.SECP384R1()), names=BOTH_NAMES),
    "secp256k1": lambda: pem(ec.generate_private_key(ec.SECP256K1()), names=BOTH_NAMES),
    "RSA": lambda: pem(rsa.generate_private_key(65537, 1024), names=BOTH_NAMES),
    "Ed25519": lambda: pem(ed25519.Ed25519PrivateKey.generate(), names=BOTH_NAMES),
    "a point that is not on the curve": off_the_curve,
    "garbled": lambda: pem(p256())[:200] + "\n-----END CERTIFICATE-----\n",
    "no certificate at all": lambda: "certificate",
    "a private key in its place": lambda: (
        p256()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    ),
}
FLAVOURS = {name: WAYS[name] for name in ("plain", "AICC")}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("way", FLAVOURS.values(), ids=FLAVOURS)
def test_a_certificate_that_must_not_be_used(tmp_path, monkeypatch, text, way):
    monkeypatch.setattr(Vault, "make_certificate", lambda *_, **__: text())
    summary, heard = ran(tmp_path, secrets(), **way)
    assert (summary.succeeded, summary.ending) == (0, "halted")
    assert "must not be used" in summary.halt.message
    assert b"/chat/completions" not in heard
    assert leaked(heard) == []


@pytest.mark.parametrize("names", [(), ("ring.r",), ("key.k", "ring.r"), ("www.example.com", "example.com")])
def test_in_confidential_computing_a_certificate_of_another_host_is_none(tmp_path, monkeypatch, names):
    text = pem(p256(), names=names)
    monkeypatch.setattr(Vault, "make_certificate", lambda *_, **__: text)
    summary, heard = ran(tmp_path, secrets(), **WAYS["AICC"])
    assert (summary.ending, "names no ring" in summary.halt.message) == ("halted", True)
    assert b"/chat/completions" not in heard


def test_a_certificate_of_another_key_is_refused_by_the_service_and_the_prompt_stays_unreadable(tmp_path, monkeypatch):
    text = pem(p256())
    monkeypatch.setattr(Vault, "make_certificate", lambda *_, **__: text)
    summary, heard = ran(tmp_path, secrets())
    assert summary.succeeded == 0
    assert b"x-is-encrypted: true" in heard
    assert leaked(heard) == []


async def _never(_, __):
    await asyncio.sleep(10**6)


def answers(status=200, text="{}", **headers):
    async def answer(_, __):
        return web.Response(status=status, text=text, headers=headers, content_type="application/json")

    return answer


async def _drops(_, request):
    return broken_connections.hang_up(request)


FETCHES = {
    "dropped": _drops,
    "never answered": _never,
    "refused for its key": answers(401, '{"error":{"code":"AuthenticationError"}}'),
    "forbidden": answers(403, '{"error":{"code":"AccessDenied"}}'),
    "not there": answers(404, "404 page not found"),
    "limited": answers(429, '{"error":{"code":"ServerOverloaded"}}'),
    "a server error": answers(500, '{"error":{"code":"InternalServiceError"}}'),
    "a page of a proxy": answers(502, "<html>"),
    "sent elsewhere": answers(302, "", Location="http://127.0.0.1:1/elsewhere"),
    "sent to the prompt's own path": answers(307, "", Location="/api/v3/chat/completions"),
    "an error inside a 200": answers(200, '{"Certificate":"","error":{"code":"x"}}'),
    "null": answers(200, '{"Certificate":null}'),
    "empty": answers(200, ""),
    "no JSON": answers(200, "<html>"),
    "a list": answers(200, "[]"),
    "a number": answers(200, '{"Certificate":1}'),
}


@pytest.mark.parametrize("fetch", FETCHES.values(), ids=FETCHES)
@pytest.mark.parametrize("way", FLAVOURS.values(), ids=FLAVOURS)
def test_a_certificate_that_does_not_come(tmp_path, monkeypatch, fetch, way):
    monkeypatch.setattr(Simulator, "handle_certificate", fetch)
    summary, heard = ran(tmp_path, secrets(), timeout=30, give_up_after=600.0, patience=60.0, **way)
    assert summary.succeeded == 0
    assert b"/e2e/get/certificate" in heard
    assert b"/chat/completions HTTP" not in heard
    assert leaked(heard) == []


@pytest.mark.parametrize("settings", [{"certificate": "refused"}, {"powerless": (ACCESS_KEY[0],)}, {"key_rpm": 1}])
def test_the_control_plane_gives_none(tmp_path, settings):
    summary, heard = ran(tmp_path, secrets(), settings=settings, give_up_after=30.0, **WAYS["access key"])
    assert summary.succeeded == 0 or settings == {"key_rpm": 1}
    assert leaked(heard) == []


@pytest.mark.parametrize("error", [ValueError("no point"), OverflowError("too long")])
@pytest.mark.parametrize("step", ["seal_for_call", "encrypt_text"])
def test_arithmetic_that_fails_in_the_middle(tmp_path, monkeypatch, error, step):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(sealing if step == "seal_for_call" else sealing.Seal, step, fails)
    summary, heard = ran(tmp_path, secrets(), settings={})
    assert (summary.succeeded, summary.failures) == (0, {"invalid_request": 1})
    assert b"/chat/completions" not in heard
    assert SECRET.encode() in (tmp_path / "in.run/failures.jsonl").read_bytes()  # to be sent again


SPELT = ["x-is-encrypted", "X-Is-Encrypted", "x_is_encrypted"]
IN_A_ROW = [
    *({"extra_headers": {name: "true"}} for name in SPELT),
    *({name: "true"} for name in SPELT[:2]),
    {"encrypt": True},
    {"encrypt": "true"},
    {"confidential": True},
]


@pytest.mark.parametrize("asked", IN_A_ROW, ids=str)
@pytest.mark.parametrize("encrypt", [True, None])
def test_who_asks_for_encryption_in_a_row_sends_nothing_at_all(tmp_path, asked, encrypt):
    """As one asks the SDK, or in the words of the job. It would be a field that nobody reads, beside a prompt in clear."""
    row = secrets(**asked)
    with pytest.raises(UsageError, match="encrypt = true"):  # before anything is opened
        ran(tmp_path, row, encrypt=encrypt)
    assert not (tmp_path / "in.run").exists()
