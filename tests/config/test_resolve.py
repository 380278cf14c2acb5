"""A job file, flags and variables become one job; a mistake is one line that says how to fix it."""

import msgspec
import pytest

from arkbatch.config.base_url import ARK
from arkbatch.config.error_text import known_keys
from arkbatch.config.flag_values import FLAG_PATHS, parse_setting
from arkbatch.config.job_file import JobFile, unknown_endpoint
from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import JobError, UsageError
from arkbatch.core.job import job_tables
from arkbatch.core.job_sections import Limits, ReplyPolicy, RetryPolicy, Timeouts
from arkbatch.core.secret import NO_KEY, Secret
from arkbatch.protocol.endpoints import ENDPOINTS, NAMES
from arkbatch.protocol.endpoints.batch_lane import online_name

KEY = {"ARK_API_KEY": "sk-ark"}
# Flags with tests of their own.
ELSEWHERE = {"notify", "provider", "schema", "text", "tools"}
PLAIN = 'input = "rows.jsonl"\nmodel = "m"\n'


@pytest.fixture
def job(tmp_path):
    """Resolves the text of a job file in the folder `jobs`, with `tmp_path` as the working directory."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "rows.jsonl").touch()
    (tmp_path / "rows.jsonl").touch()

    def resolved(text=PLAIN, environ=KEY, **flags):
        (tmp_path / "jobs" / "night.toml").write_text(text, encoding="utf-8")
        return resolve_job("jobs/night.toml", flags, environ, tmp_path)

    return resolved


@pytest.fixture
def mistake(job):
    """The one line that a wrong job file is answered with."""

    def told(text, **flags):
        with pytest.raises(UsageError) as caught:
            job(text, **flags)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return told


def test_what_is_left_out_has_the_documented_default(job, tmp_path):
    found = job()
    assert (found.limits, found.retry) == (Limits(512, None, None), RetryPolicy(5, 1.0, 60.0, 43_200.0))
    assert (found.timeouts, found.replies) == (Timeouts(10.0, 1800.0), ReplyPolicy())
    assert (found.endpoint, found.base_url, found.defaults) == ("chat", ARK.default, {})
    assert found.api_key.reveal() == "sk-ark"


def test_paths_in_a_job_file_are_relative_to_it_and_flags_to_the_working_directory(job, tmp_path):
    assert job().input == str(tmp_path / "jobs/rows.jsonl")
    assert job().run_dir == str(tmp_path / "jobs/night.run")
    assert job(PLAIN + 'run_dir = "out/x"').run_dir == str(tmp_path / "jobs/out/x")
    assert job(PLAIN + 'run_dir = "out/x"', run_dir="y").run_dir == str(tmp_path / "y")


@pytest.mark.parametrize(
    ("name", "run_dir"),
    [
        ("rows.jsonl", "rows.run"),
        ("a.b.jsonl.gz", "a.b.run"),
        ("rows.ndjson", "rows.run"),
        ("rows.csv", "rows.run"),
        ("Rows.CSV.gz", "Rows.run"),
        ("rows.dat", "rows.dat.run"),
    ],
)
def test_an_input_alone_has_its_run_beside_it(tmp_path, name, run_dir):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).touch()
    found = resolve_job(f"data/{name}", {"model": "m"}, KEY, tmp_path)
    assert (found.input, found.run_dir) == (str(tmp_path / "data" / name), str(tmp_path / "data" / run_dir))


def test_standard_input_has_its_run_in_the_working_directory(tmp_path):
    found = resolve_job("-", {"model": "m"}, KEY, tmp_path)
    assert (found.input, found.run_dir) == ("-", str(tmp_path / "stdin.run"))


@pytest.mark.parametrize(("flag", "path"), [each for each in FLAG_PATHS.items() if each[0] not in ELSEWHERE])
def test_each_flag_wins_over_the_key_it_stands_for(job, flag, path):
    values = {
        "endpoint": "embeddings",
        "stream": True,
        "project": "p",
        "encrypt": True,
        "hedge": True,
        "rest": "online",
        "keep_files": True,
        "mode": "fixed",
        "lane": "batch",
        "images": "/",
    }
    values |= dict.fromkeys(("system", "text", "id_column", "image_column", "encoding", "sheet", "bucket"), "x")
    values |= {"delimiter": ";", "header": False, "empty": "send", "allow_empty": True, "prompt": "x", "dedupe": True}
    values |= {"notify_command": ["cat"], "notify_on": ["stop"], "window": "22:00-08:00", "finish_by": "08:00"}
    template = '[template]\nuser = "{a}"\n' if flag != "endpoint" else ""
    text = PLAIN + "[limits]\nconcurrency = 3\nrpm = 3\n[retry]\nmax_attempts = 3\n" + template
    found = job(text, **{flag: values.get(flag, 7)})
    for part in path:
        found = getattr(found, part)
    assert found == values.get(flag, 7)


def test_flags_win_over_the_job_file_and_that_over_the_environment(job):
    environ = KEY | {"ARK_MODEL": "env", "ARK_BASE_URL": "https://env.example"}
    text = PLAIN + 'base_url = "https://env.example/file"'
    found = [job(text, environ, model="flag", base_url="https://env.example/x/"), job(text, environ)]
    found.append(job('input = "rows.jsonl"', environ))
    assert [(each.model, each.model_from) for each in found] == [
        ("flag", "--model"),
        ("m", "night.toml"),
        ("env", "ARK_MODEL"),
    ]
    assert [(each.base_url, each.base_url_from) for each in found] == [
        ("https://env.example/x", "--base-url"),
        ("https://env.example/file", "night.toml"),
        ("https://env.example", "ARK_BASE_URL"),
    ]


def test_a_model_of_another_company_does_not_replace_what_a_job_file_says(job):
    environ = {"OPENAI_API_KEY": "o", "OPENAI_BASE_URL": "https://other.example/v1", "MODEL_NAME": "gpt"}
    text = PLAIN + 'base_url = "http://localhost:8000/v1"'
    assert (job(text, environ).base_url, job(text, environ).model) == ("http://localhost:8000/v1", "m")


def test_headers_and_query_go_out_with_the_values_of_variables(job, tmp_path):
    (tmp_path / ".env").write_text("GATEWAY_TOKEN=from-dot-env\n")
    found = job(
        PLAIN
        + """
        base_url = "https://ark.cn-beijing.volces.com/api/v3?a=1&b=2"
        headers = {X-Prompt-Cache-Id = "night-7", X-Gateway = "env:GATEWAY_TOKEN"}
        query = {api-version = "2024-10-21", b = "3"}
        """
    )
    assert found.base_url == ARK.default
    assert found.additions.headers == {"X-Prompt-Cache-Id": "night-7", "X-Gateway": "from-dot-env"}
    assert found.additions.query == {"a": "1", "b": "3", "api-version": "2024-10-21"}
    assert found.additions.secrets == (Secret("from-dot-env"),)
    assert "from-dot-env" not in f"{job_tables(found)}{found}"
    assert job_tables(found)["headers"]["X-Gateway"] == "env:GATEWAY_TOKEN"
    assert job_tables(found)["query"] == found.additions.query


@pytest.mark.parametrize(
    "line", ['headers.api-key = "env:AZURE"', 'headers.Authorization = "env:AZURE"', 'query.key = "env:AZURE"']
)
def test_a_key_in_a_header_of_the_jobs_own_stands_for_the_key(job, line):
    found = job(
        f'{line}\nbase_url = "https://x.openai.azure.com/openai/v1"\n' + PLAIN, {"AZURE": "k", "ARK_API_KEY": "a"}
    )
    assert found.additions.has_key
    assert found.api_key == NO_KEY


ADDITION_MISTAKES = [
    ('headers.Host = "x"', "headers.Host is set by arkbatch itself"),
    ('headers."a b" = "x"', "headers.a b is not a valid header name"),
    ('headers.X-Client-Request-Id = "x"', "give request_id_prefix, or request_id in a row"),
    ('headers.a = "x\\ny"', "headers.a holds a character that a header cannot have"),
    ('headers.a = "密"', "headers.a holds a character that a header cannot have"),
    ('headers.a = "env:NOT_SET"', "headers.a: NOT_SET is set neither in the environment nor in .env"),
    ('query.a = "env:NOT_SET"', "query.a: NOT_SET is set neither"),
    ('headers.api-key = "sk-1"', 'put it into a variable and write headers.api-key = "env:NAME"'),
    ('headers.a = "env:OPENAI_API_KEY"', "OPENAI_API_KEY goes only to the address that it was given for"),
    ('headers.a = "env:VOLC_SECRETKEY"', "VOLC_SECRETKEY is never sent as it is"),
    ("headers.a = 5", 'headers = {"a":5} is not allowed: it must be a table of texts in quotes'),
]


@pytest.mark.parametrize(("text", "says"), ADDITION_MISTAKES, ids=[text for text, _ in ADDITION_MISTAKES])
def test_a_header_or_parameter_that_cannot_go_out_is_refused(mistake, text, says):
    said = mistake(f"{text}\n" + PLAIN, environ=KEY | {"OPENAI_API_KEY": "o", "VOLC_SECRETKEY": "s"})
    assert says in said
    assert "sk-1" not in said


def test_a_simulated_run_sends_no_secret_of_the_job(job):
    assert job('headers.a = "env:NOT_SET"\n' + PLAIN, simulate=True).additions.headers == {}


def test_a_flag_not_given_changes_nothing(job):
    assert job(rpm=None, model=None, set=None, limit=None) == job()


def test_an_unknown_flag_is_a_bug_in_the_caller(job):
    with pytest.raises(TypeError, match="tempo"):
        job(tempo=3)


def test_settings_lie_over_the_defaults_of_the_file(job):
    text = PLAIN + '[defaults]\ntemperature = 0.9\n[defaults.thinking]\ntype = "enabled"\nbudget = 3\n'
    found = job(text, set=["temperature=0.2", "thinking.type=disabled", 'stop=["。"]'])
    assert found.defaults == {"temperature": 0.2, "thinking": {"type": "disabled", "budget": 3}, "stop": ["。"]}


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("n=1", ("n",), 1),
        ("user=u=1", ("user",), "u=1"),
        ('user="007"', ("user",), "007"),
        ("x=NaN", ("x",), "NaN"),
        ("x=null", ("x",), None),
        ("x=", ("x",), ""),
        ("a.b.c=true", ("a", "b", "c"), True),
    ],
)
def test_a_setting_is_json_where_it_is_json_and_else_text(text, path, value):
    assert parse_setting(text) == (path, value)


@pytest.mark.parametrize("text", ["temperature", "=1", "a..b=1", ""])
def test_a_setting_without_key_and_value_is_refused(text):
    with pytest.raises(UsageError, match="key=value"):
        parse_setting(text)


def test_a_setting_does_not_dig_into_a_value(mistake):
    said = mistake(PLAIN + "[defaults]\nthinking = 3", set=["thinking.type=auto"])
    assert "defaults.thinking = 3 is not a table" in said


MISTAKES = [
    ("[limits]\nrpm = 0", "limits.rpm = 0 is not allowed: it must be a number above 0"),
    (
        "[limits]\nconcurrency = 100001",
        "limits.concurrency = 100001 is not allowed: it must be a whole number from 1 to",
    ),
    ('[limits]\nrpm = "600"', 'limits.rpm = "600" is not allowed: it must be a number above 0'),
    ("[limits]\nconcurency = 8", "limits.concurency = 8 is not a known key: did you mean limits.concurrency?"),
    ("limits = 5", "limits = 5 is not allowed: it must be a table"),
    ('limits = "fast"', 'limits = "fast" is not allowed: it must be a table, or "auto"'),
    ("concurrency = 8", "concurrency = 8 is not a known key: concurrency belongs under [limits]"),
    ("temperature = 1", "temperature = 1 is not a known key: known here are "),
    ("max_tokens = 9", "[defaults]"),
    ("temprature = 1", "[defaults]"),
    ("[limits.burst]\nx = 1", "no table is known here"),
    ("endpint = 'chat'", "did you mean endpoint?"),
    ('[limits]\nmodel = "m"', "model belongs at the top"),
    ("[limit]\nrpm = 5", 'limit = {"rpm":5} is not a known key: did you mean limits?'),
    (
        'endpoint = "chatt"',
        'or a path below the base URL, such as /rerank; did you mean "chat"?',
    ),
    ("[timeouts]\nread = -1", "timeouts.read = -1 is not allowed"),
    ("[timeouts]\nread = inf", "timeouts.read = inf is not a finite number"),
    ("[retry]\nfirst_delay = 90", "[retry] first_delay 90 is more than max_delay 60"),
    ('[replies]\non_empty = "ignore"', '"fail" or "keep" or "retry"'),
    ("[replies]\nfail_on_finish_reason = [1]", "replies.fail_on_finish_reason = [1] is not allowed: it must be a list"),
    ('[replies]\nretry_on_finish_reason = ["content_filter"]', "choose one"),
    ('[template]\nuser = "{a"', "[template] user: expected '}'"),
    ('[template]\nsystem = "x"', "[template] says neither user (for chat) nor input (for embeddings)"),
    ('endpoint = "chat"\n[template]\ninput = "{x}"', 'template.user is missing, and endpoint is "chat"'),
    ('[defaults]\nmodel = "m"', "defaults.model would stand in every row: write model at the top"),
    ("[defaults]\nafter = 2025-01-01", "defaults.after = 2025-01-01 is a date or time: write it as text in quotes"),
    ("[defaults]\nstop = [[nan]]", "defaults.stop = nan is not a finite number"),
    ('request_id_prefix = "a b"', "request_id_prefix"),
    ('base_url = "ark.example"', "base_url = ark.example is not a URL"),
]


@pytest.mark.parametrize(("text", "says"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_names_the_key_the_value_and_what_is_allowed(job, mistake, text, says):
    said = mistake(text if text.startswith(("limits =",)) else PLAIN + text)
    assert said.startswith("jobs/night.toml: ")
    assert says in said
    with pytest.raises(JobError):
        job(PLAIN + text)


@pytest.mark.parametrize("text", ['api_key = "sk-1"', '[defaults]\nAuthorization = "sk-1"', 'ark-api-key = "sk-1"'])
def test_a_key_in_a_job_file_is_refused_and_not_shown(mistake, text):
    said = mistake(PLAIN + text)
    assert "set ARK_API_KEY in the environment" in said
    assert "sk-1" not in said


def test_a_wrong_flag_is_named_as_the_flag(mistake):
    assert mistake(PLAIN, rpm=0) == "--rpm = 0 is not allowed: it must be a number above 0"
    assert mistake(PLAIN, max_attempts=0).startswith("--max-attempts = 0 is not allowed")
    assert mistake(PLAIN, tpm=float("inf")) == "--tpm = inf is not a finite number"
    assert "--limit 0" in mistake(PLAIN, limit=0)


def test_bad_toml_is_shown_with_line_and_column(mistake):
    said = mistake('input = "rows.jsonl"\nmodel = doubao\n')
    assert "line 2, column 9" in said
    assert said.endswith("in: model = doubao")


def test_a_job_file_may_have_a_byte_order_mark(job):
    assert job("\ufeff" + PLAIN).model == "m"


def test_a_job_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "x.toml").write_bytes(b'model = "\xff"')
    with pytest.raises(JobError, match=r"x\.toml: not UTF-8 at byte 9"):
        resolve_job("x.toml", {}, KEY, tmp_path)


def test_what_is_missing_is_named_with_every_way_to_give_it(job, mistake, tmp_path):
    assert 'input = "prompts.jsonl"' in mistake('model = "m"')
    assert all(way in mistake('input = "rows.jsonl"') for way in ("night.toml", "--model", "ARK_MODEL"))
    assert "ARK_API_KEY" in mistake(PLAIN, environ={})
    with pytest.raises(UsageError, match=r"none\.jsonl does not exist"):
        resolve_job("none.jsonl", {"model": "m"}, KEY, tmp_path)
    with pytest.raises(UsageError, match="jobs is a directory"):
        resolve_job("jobs", {"model": "m"}, KEY, tmp_path)
    with pytest.raises(UsageError, match=r"none\.toml cannot be read"):
        resolve_job("none.toml", {}, KEY, tmp_path)


def test_an_empty_model_says_that_each_row_names_its_own(job):
    assert job('input = "rows.jsonl"\nmodel = ""').model == ""
    assert job(model="").model == ""


def test_a_simulated_run_needs_no_key_and_takes_none_along(job):
    assert job('input = "rows.jsonl"', environ={}, simulate=True).model == "simulated"
    found = job(simulate=True)
    assert found.simulated
    assert found.api_key == NO_KEY


def test_a_dry_run_needs_neither_key_nor_model(job):
    assert job('input = "rows.jsonl"', environ={}, dry_run=True).model == ""


def test_the_env_file_beside_the_job_wins_over_the_working_directory_s(job, tmp_path):
    (tmp_path / ".env").write_text("ARK_API_KEY=cwd\nARK_MODEL=cwd")
    (tmp_path / "jobs/.env").write_text("ARK_API_KEY=beside")
    found = job('input = "rows.jsonl"', environ={})
    assert (found.api_key.reveal(), found.model, found.model_from) == ("beside", "cwd", "ARK_MODEL in .env")


def test_every_section_key_has_a_description_for_editors():
    schema = msgspec.json.schema(JobFile)["$defs"]
    keys = {name: value for form in schema.values() for name, value in form["properties"].items()}
    assert [name for name, value in keys.items() if not {"description", "$ref"} & set(value)] == []
    assert ("limits", "rpm") in known_keys(JobFile)


def test_the_job_file_knows_every_endpoint():
    known = {online_name(name) for name in ENDPOINTS if not name.startswith("/")}
    assert all(unknown_endpoint(name) is None for name in known)
    assert set(NAMES) == known


@pytest.mark.parametrize("path", ["/rerank", "/bots/chat/completions"])
def test_a_path_below_the_base_url_is_an_endpoint(job, path):
    assert job(f'endpoint = "{path}"\n' + PLAIN).endpoint == path


@pytest.mark.parametrize(
    "path", ["//host/rerank", "/../admin", "/a/%2e%2e/b", "/a?b=1", "/a b", "/a//b", "/a\\nb", "/"]
)
def test_a_path_that_leads_elsewhere_is_no_endpoint(mistake, path):
    assert "is not a path below the base URL" in mistake(f'endpoint = "{path}"\n' + PLAIN)


def test_the_directory_of_images_is_relative_to_who_named_it(job, tmp_path):
    for folder in ("jobs/mine", "theirs"):
        (tmp_path / folder).mkdir()
    assert job('images = "mine"\n' + PLAIN).images == str(tmp_path / "jobs/mine")
    assert job('images = "mine"\n' + PLAIN, images="theirs").images == str(tmp_path / "theirs")
    assert job().images == ""


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        ('images = "gone"\n', {}, 'jobs/night.toml: images = "gone" does not exist (looked at '),
        ("", {"images": "rows.jsonl"}, "--images rows.jsonl is not a directory (looked at "),
    ],
)
def test_a_directory_of_images_that_is_none_is_said_before_the_run(mistake, text, flags, words):
    assert mistake(text + PLAIN, **flags).startswith(words)


def test_an_input_that_is_missing_is_named_once(tmp_path):
    with pytest.raises(UsageError) as caught:
        resolve_job(str(tmp_path / "gone.jsonl"), {"model": "m"}, KEY, tmp_path)
    assert str(caught.value) == f"{tmp_path / 'gone.jsonl'} does not exist"
    with pytest.raises(UsageError, match=r"gone.jsonl does not exist \(looked at /"):
        resolve_job("gone.jsonl", {"model": "m"}, KEY, tmp_path)


DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize("setting", [f"a={DEEP}", f"a={'[' * 80}{']' * 80}", ".".join("a" * 2000) + "=1"])
def test_a_setting_that_is_nested_too_deeply_is_refused(mistake, setting):
    said = mistake(PLAIN, set=[setting])
    assert said.startswith("--set ")
    assert "deep" in said


@pytest.mark.parametrize("value", [DEEP, "9" * 6000, "123456789012345678901234567890"])
def test_a_value_that_nothing_can_hold_is_a_mistake_in_the_job_file(mistake, value):
    assert mistake(f"{PLAIN}[defaults]\na = {value}").startswith("jobs/night.toml: it ")


@pytest.mark.parametrize(
    ("text", "flags", "read"),
    [
        ('[timeouts]\nread = "5m"', {}, 300.0),
        ("[timeouts]\nread = 5", {}, 5.0),
        ("", {"timeout": "90s"}, 90.0),
        ("", {"timeout": 1.5}, 1.5),
    ],
)
def test_a_duration_is_seconds_or_a_text_with_a_unit(tmp_path, text, flags, read):
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')
    (tmp_path / "job.toml").write_text(f'input = "in.jsonl"\nmodel = "m"\n{text}\n')
    job = resolve_job("job.toml", {"simulate": True, **flags}, {}, tmp_path)
    assert job.timeouts.read == read


def test_a_text_that_is_no_duration_is_refused(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')
    (tmp_path / "job.toml").write_text('input = "in.jsonl"\n[timeouts]\nread = "soon"\n')
    with pytest.raises(JobError, match=r"timeouts.read = \"soon\""):
        resolve_job("job.toml", {"simulate": True}, {}, tmp_path)


@pytest.mark.parametrize(
    "text", ["stream = true", "hedge = true", "[defaults]\nstream = true", '[tools]\nmodule = "tools.py"']
)
def test_what_batch_files_cannot_carry_is_refused_before_a_row_is_sent(mistake, text):
    said = mistake(f'{PLAIN}base_url = "http://127.0.0.1:1/v1"\nlane = "files"\n{text}\n')
    assert "(--lane files) does not go with" in said


@pytest.mark.parametrize("flags", [{"provider": "azure", "base_url": "https://x.openai.azure.com/openai/v1"}, {}])
def test_a_provider_with_an_address_for_each_customer_takes_the_one_that_is_given(job, flags):
    own = "" if flags else 'provider = "azure"\nbase_url = "https://x.openai.azure.com/openai/v1"\n'
    found = job(own + PLAIN, {"AZURE_OPENAI_API_KEY": "az", "ARK_API_KEY": "a"}, **flags)
    assert (found.base_url, found.api_key.reveal()) == ("https://x.openai.azure.com/openai/v1", "az")
