"""Which server is meant, and that a key reaches only the address that it was given for."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.config.base_url import ARK, NOWHERE, OPENAI, checked_address, provider_address
from arkbatch.config.server_choice import choose_server, withheld_keys
from arkbatch.config.variables import read_variables
from arkbatch.core.errors import UsageError
from arkbatch.core.secret import NO_KEY

DEEPSEEK = "https://api.deepseek.com/v1"


def server(environ, flag="", file="", folders=()):
    addresses = [checked_address(text, "x") if text else NOWHERE for text in (flag, file)]
    return choose_server(read_variables(environ, folders), *addresses, "job.toml")


def key(*args, **kwargs):
    found = server(*args, **kwargs)
    return found.base_url, found.key and found.key.reveal()


def test_with_nothing_said_it_is_ark_and_the_missing_key_is_named():
    found = server({})
    assert (found.base_url, found.key) == (ARK.default, None)
    assert "ARK_API_KEY" in found.missing


@pytest.mark.parametrize(
    ("environ", "base_url", "sent"),
    [
        ({"ARK_API_KEY": "a"}, ARK.default, "a"),
        ({"OPENAI_API_KEY": "o"}, OPENAI.default, "o"),
        ({"ARK_API_KEY": "a", "OPENAI_API_KEY": "o"}, ARK.default, "a"),
        ({"ARK_API_KEY": "a", "OPENAI_API_KEY": "o", "OPENAI_BASE_URL": DEEPSEEK}, ARK.default, "a"),
        ({"OPENAI_API_KEY": "o", "OPENAI_BASE_URL": DEEPSEEK}, DEEPSEEK, "o"),
        ({"OPENAI_API_KEY": "o", "OPENAI_BASE_URL": ARK.default}, ARK.default, "o"),
        ({"ARK_API_KEY": "a", "ARK_BASE_URL": "https://gateway.example/v3"}, "https://gateway.example/v3", "a"),
        ({"ARK_API_KEY": "", "OPENAI_API_KEY": "o"}, OPENAI.default, "o"),
    ],
)
def test_the_variables_choose_server_and_key_together(environ, base_url, sent):
    assert key(environ) == (base_url, sent)


@pytest.mark.parametrize(
    ("file", "sent"),
    [
        ("https://ark.ap-southeast.bytepluses.com/api/v3", "a"),
        ("https://api.openai.com/v1", "o"),
        (DEEPSEEK, None),
        ("http://ark.cn-beijing.volces.com/api/v3", None),
        ("https://volces.com.evil.example/api/v3", None),
        ("https://evilvolces.com/api/v3", None),
        ("https://ark.cn-beijing.volces.com:8443/api/v3", "a"),
        ("http://localhost:8000/v1", NO_KEY.reveal()),
    ],
)
def test_the_address_in_a_job_file_picks_the_key(file, sent):
    assert key({"ARK_API_KEY": "a", "OPENAI_API_KEY": "o"}, file=file) == (file, sent)


def test_a_key_with_an_address_of_its_own_goes_nowhere_else():
    environ = {"OPENAI_API_KEY": "o", "OPENAI_BASE_URL": DEEPSEEK}
    assert key(environ, flag="https://api.openai.com/v1") == ("https://api.openai.com/v1", None)
    assert key(environ, flag="https://api.deepseek.com/beta") == ("https://api.deepseek.com/beta", "o")


ADDRESSES = ["", ARK.default, OPENAI.default, DEEPSEEK, "http://127.0.0.1:1/v1"]


@given(st.tuples(*[st.sampled_from(ADDRESSES)] * 4), st.booleans(), st.booleans())
def test_whatever_is_set_no_key_reaches_a_host_of_the_other_provider(addresses, has_ark, has_openai):
    ark, openai, flag, file = addresses
    environ = {"ARK_BASE_URL": ark, "OPENAI_BASE_URL": openai}
    environ |= {"ARK_API_KEY": "a"} if has_ark else {}
    environ |= {"OPENAI_API_KEY": "o"} if has_openai else {}
    base_url, sent = key(environ, flag, file)
    host = urlsplit(base_url).hostname
    allowed = {"a": ark or ARK.default, "o": openai or OPENAI.default}
    assert sent in {None, NO_KEY.reveal()} or urlsplit(allowed[sent]).hostname == host


def test_a_flag_wins_over_the_job_file_and_that_over_variables(folders):
    environ = {"ARK_BASE_URL": "https://env.example"}
    in_file = {"folders": folders}
    (folders[1] / ".env").write_text("ARK_BASE_URL=https://dot.example\n")
    found = [
        server(environ, "https://flag.example", "https://file.example"),
        server(environ, "", "https://file.example"),
        server(environ),
        server({}, **in_file),
        server({}),
    ]
    assert [(each.base_url, each.base_url_from) for each in found] == [
        ("https://flag.example", "--base-url"),
        ("https://file.example", "job.toml"),
        ("https://env.example", "ARK_BASE_URL"),
        ("https://dot.example", "ARK_BASE_URL in .env"),
        (ARK.default, "default"),
    ]


def test_the_model_comes_from_the_variables_of_the_server_that_is_used():
    environ = {"ARK_API_KEY": "a", "ARK_MODEL": "doubao", "OPENAI_API_KEY": "o", "MODEL_NAME": "gpt"}
    assert server(environ).model == "doubao"
    assert server(environ, flag=OPENAI.default).model == "gpt"
    assert server(environ, flag=ARK.default).model == "doubao"


@pytest.mark.parametrize("address", [DEEPSEEK, "http://127.0.0.1:8000/v1"])
def test_model_name_counts_beside_an_address_that_is_not_arks(address):
    environ = {"ARK_API_KEY": "a", "ARK_MODEL": "doubao", "MODEL_NAME": "gpt"}
    for found in (server(environ, flag=address), server(environ, file=address)):
        assert (found.model, found.model_from) == ("gpt", "MODEL_NAME")


def test_a_key_for_nobody_says_how_to_pair_it():
    other = "https://llm.example.com/v1"
    assert f"OPENAI_BASE_URL={other}" in server({"ARK_API_KEY": "a"}, flag=other).missing


def test_a_provider_s_own_key_goes_to_its_own_address_alone():
    keys = {"DEEPSEEK_API_KEY": "d", "ARK_API_KEY": "a"}
    assert server(keys, flag=DEEPSEEK).key.reveal() == "d"
    assert server(keys).key.reveal() == "a"
    assert "DEEPSEEK_API_KEY" in server({"ARK_API_KEY": "a"}, flag=DEEPSEEK).missing
    assert server(keys, flag="https://api.moonshot.cn/v1").key is None


def test_a_provider_by_name_is_its_address_and_a_misspelt_one_is_told():
    assert provider_address("moonshot-intl").url == "https://api.moonshot.ai/v1"
    assert provider_address("").url == ""
    with pytest.raises(UsageError, match="did you mean deepseek"):
        provider_address("deepsek")
    with pytest.raises(UsageError, match="an address for each customer"):
        provider_address("azure")


def test_a_provider_that_was_named_is_what_the_start_line_names():
    flag, file = (provider_address("deepseek", said) for said in ("--provider deepseek", "provider in job.toml"))
    variables = read_variables({"DEEPSEEK_API_KEY": "k"}, [])
    assert choose_server(variables, flag, NOWHERE).base_url_from == "--provider deepseek"
    assert choose_server(variables, NOWHERE, file).base_url_from == "provider in job.toml"
    assert (
        choose_server(variables, checked_address("https://api.deepseek.com", "x"), file).base_url_from == "--base-url"
    )


def test_a_key_from_the_shell_is_not_sent_to_the_address_that_an_env_file_gives_with_another_key(folders):
    (folders[0] / ".env").write_text(f"OPENAI_API_KEY=sk-deepseek\nOPENAI_BASE_URL={DEEPSEEK}\n")
    with pytest.raises(UsageError, match="no key goes to the wrong server") as caught:
        server({"OPENAI_API_KEY": "sk-openai"}, folders=folders)
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("bad", ["sk-1 2", "sk-1\nX-Evil: 1", "密钥", "sk\x00"])
def test_a_key_that_no_header_can_hold_is_refused_without_printing_it(bad):
    with pytest.raises(UsageError, match="ARK_API_KEY in the environment") as caught:
        server({"ARK_API_KEY": bad})
    assert bad not in str(caught.value)


def test_the_query_of_a_variable_s_address_goes_with_each_call():
    environ = {"OPENAI_API_KEY": "o", "OPENAI_BASE_URL": "https://x.example/v1?api-version=1"}
    assert (server(environ).base_url, server(environ).query) == ("https://x.example/v1", {"api-version": "1"})


def test_a_wrong_address_in_a_variable_names_the_variable():
    with pytest.raises(UsageError, match="OPENAI_BASE_URL = localhost"):
        server({"OPENAI_BASE_URL": "localhost:8000"})


@pytest.mark.parametrize("name", ["VOLC_SESSION_TOKEN", "VOLC_SESSIONTOKEN"])
def test_a_temporary_access_key_brings_its_token(name):
    access = server({"VOLC_ACCESSKEY": "AKTP", "VOLC_SECRETKEY": "s", name: "the-token"}).access
    assert access.token.reveal() == "the-token"
    assert "the-token" not in repr(access)


@pytest.mark.parametrize("value", ["aicc", "AICCv0.1", "true", "on"])
def test_a_flavour_of_encryption_that_the_sdk_would_pass_over_is_refused(value):
    with pytest.raises(UsageError, match=f"VOLC_ARK_ENCRYPTION = {value} is not a way to encrypt"):
        server({"ARK_API_KEY": "k", "VOLC_ARK_ENCRYPTION": value})


def test_the_variables_of_the_sdk_mean_what_they_mean_there_and_nothing_at_another_server():
    said = {"VOLC_ARK_ENCRYPTION": "AICC", "E2E_CERTIFICATE_PATH": "a.pem"}
    found = server({"ARK_API_KEY": "k", **said})
    assert (found.confidential, found.certificate) == (True, "a.pem")
    found = server({"OPENAI_API_KEY": "k", **said})
    assert (found.confidential, found.certificate) == (False, "")


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "ARK_API_KEY"])
def test_a_key_that_is_not_sent_to_a_local_server_is_told_with_the_command_that_sends_it(name):
    here = "http://127.0.0.1:8000/v1"
    (told,) = withheld_keys(read_variables({name: "k"}, ()), server({name: "k"}, file=here))
    assert told.startswith(f"{name} is set, but is not sent to 127.0.0.1:8000")
    variable, _, address = told.rpartition(":  export ")[2].partition("=")
    assert server({name: "k", variable: address}, file=here).key.reveal() == "k"


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:8000"}])
def test_no_key_and_a_key_that_is_sent_are_not_told(environ):
    found = server(environ, file="http://127.0.0.1:8000/v1")
    assert withheld_keys(read_variables(environ, ()), found) == ()


def test_a_key_for_another_address_is_told_with_the_command_that_sends_it():
    environ, there = {"OPENAI_API_KEY": "k"}, "https://elsewhere.example/v1"
    found = server(environ, file=there)
    assert found.key is None
    variable, _, address = found.missing.rpartition(":  export ")[2].partition("=")
    assert server({**environ, variable: address}, file=there).key.reveal() == "k"
