"""What becomes of a call to a server whose certificate cannot be trusted."""

import ssl

import pytest
from certificates import self_signed
from servers import Raw, served, whole
from virtual import run_virtual

from arkbatch.core.calls import Break, Broken, Call, Reply
from arkbatch.core.errors import Halted
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.transport import open_transport

pytestmark = pytest.mark.usefixtures("either_way")
CALL = Call("run-1-7-1", "chat", "/chat/completions", b"{}")


def send(tls, sends=1, between=lambda: None):
    """The responses, and what the server heard."""
    server = Raw(whole(), close=True)

    async def main():
        async with served(server, tls) as url, open_transport(url, ApiKey(Secret("k")), Timeouts(), 1) as http:
            responses = []
            for _ in range(sends):
                responses.append(await http.send(CALL))
                between()
            return responses

    try:
        return run_virtual(main())
    finally:
        assert len(server.heard) <= sends


@pytest.mark.parametrize(
    ("days", "host", "is_trusted", "advice"),
    [
        (9, "127.0.0.1", False, "SSL_CERT_FILE=/path/to/certificate.pem"),
        (-1, "127.0.0.1", True, "check this machine's clock"),
        (9, "127.0.0.2", True, "check the host's name in base_url"),
    ],
)
def test_a_certificate_that_cannot_be_trusted_ends_the_run_at_the_first_call(
    tmp_path, monkeypatch, days, host, is_trusted, advice
):
    tls, file = self_signed(tmp_path, days, host)
    if is_trusted:
        trust(monkeypatch, file)
    with pytest.raises(Halted, match=r"is not to be trusted .* so nothing was sent") as halted:
        send(tls)
    assert advice in str(halted.value)


def test_a_certificate_that_is_named_is_trusted(tmp_path, monkeypatch):
    tls, file = self_signed(tmp_path)
    trust(monkeypatch, file)
    assert isinstance(send(tls)[0], Reply)


def test_a_certificate_that_becomes_bad_behind_an_answer_is_an_outage(tmp_path, monkeypatch):
    tls, file = self_signed(tmp_path)
    trust(monkeypatch, file)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other"
    self_signed(other)
    first, second = send(tls, 2, lambda: tls.load_cert_chain(other / "server.pem"))
    assert isinstance(first, Reply)
    assert isinstance(second, Broken)
    assert second.how is Break.CONNECT


def trust(monkeypatch, file):
    """As SSL_CERT_FILE does, which aiohttp reads when it is imported."""
    context = ssl.create_default_context(cafile=file)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)
