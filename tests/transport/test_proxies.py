"""Which proxy is used for an address, and which is refused before a run begins."""

import pytest

from arkbatch.core.errors import UsageError
from arkbatch.transport.proxies import check_proxy, proxy_for


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """Sets the variables, and no other one counts."""
    for name in ("all_proxy", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://ark.test/v1", "http://proxy.test:3128"),
        ("http://ark.test/v1", "http://plain.test:8080"),
        ("https://inside.test/v1", None),
        ("http://127.0.0.1:99/v1", None),
        ("nonsense", None),
    ],
)
def test_the_proxy_variables_are_honoured(variables, url, proxy):
    variables(
        https_proxy="http://proxy.test:3128", http_proxy="http://plain.test:8080", no_proxy="inside.test,127.0.0.1"
    )
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_exempt"),
    [
        ("10.0.0.0/8", "10.20.30.40", True),
        ("10.0.0.0/8", "11.20.30.40", False),
        ("192.168.1.7/24", "192.168.1.200", True),
        ("fd00::/8", "[fd12::1]", True),
        ("fd00::/8", "10.1.1.1", False),
        ("inside.test, 10.0.0.0/8", "10.1.1.1", True),
        ("10.0.0.0/99", "10.1.1.1", False),
        ("10.0.0.0/8", "ten.test", False),
        (".inside.test", "a.inside.test", True),
        ("a.test:8000", "a.test:8000", True),
        ("a.test:8000", "a.test:9000", False),
        ("b.test,*", "a.test", True),
    ],
)
def test_no_proxy_names_hosts_suffixes_ports_and_networks(variables, no_proxy, host, is_exempt):
    variables(ALL_PROXY="http://proxy.test:3128", NO_PROXY=no_proxy)
    assert (proxy_for(f"http://{host}/v1") is None) is is_exempt


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://127.0.0.1:9", r"HTTPS_PROXY = socks5://127.0.0.1:9 is a SOCKS proxy"),
        ("socks5h://u:pa55word@127.0.0.1:9", r"HTTPS_PROXY = socks5h://\*\*\*@127.0.0.1:9 is a SOCKS proxy"),
        ("proxy.test:3128", r"HTTPS_PROXY = proxy.test:3128 has no scheme: write http://proxy.test:3128"),
        ("u:pa55word@proxy.test:3128", r"HTTPS_PROXY = proxy.test:3128 has no scheme"),
        ("http://", r"is not the URL of a proxy"),
        ("ftp://proxy.test", r"is not the URL of a proxy"),
        ("http://proxy.test:99999", r"is not the URL of a proxy"),
        ("http://[::1", r"is not the URL of a proxy"),
    ],
)
def test_a_proxy_that_can_never_work_is_refused_with_the_way_out(variables, proxy, said):
    variables(HTTPS_PROXY=proxy)
    with pytest.raises(UsageError, match=said) as refused:
        check_proxy("https://ark.test/v1")
    assert "add ark.test to NO_PROXY" in str(refused.value)
    assert "pa55word" not in str(refused.value)


@pytest.mark.parametrize("proxy", ["http://proxy.test:3128", "https://u:p@proxy.test", "HTTP://proxy.test"])
def test_a_proxy_that_may_work_is_taken(variables, proxy):
    variables(HTTPS_PROXY=proxy)
    check_proxy("https://ark.test/v1")


def test_a_proxy_for_other_hosts_is_not_looked_at(variables):
    variables(HTTPS_PROXY="socks5://127.0.0.1:9", NO_PROXY="ark.test")
    check_proxy("https://ark.test/v1")
    check_proxy("http://other.test/v1")
