"""The summary, the first lines and `status` in Chinese."""

import re

import msgspec
import pytest
from click.testing import CliRunner
from runs import answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli.status import command
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.histogram import Histogram
from arkbatch.core.job import Job
from arkbatch.core.language import Language
from arkbatch.core.secret import NO_KEY
from arkbatch.core.text import display_width
from arkbatch.journal.ledger import Ledger
from arkbatch.monitor.progress import FoundRows
from arkbatch.pricing.summary import summarise
from arkbatch.protocol.error_codes import KEY
from arkbatch.reports.status.advice import advice_for
from arkbatch.reports.text.summary import aligned_lines, found_line, summary_text, target_line
from arkbatch.reports.text.tables import grid_lines

ZH = Language.CHINESE


def summary(**changes):
    session = {"recorded": 1, "retried": 0}
    plain = summarise(
        Ledger(),
        Histogram(),
        ending="finished",
        run_dir="a.run",
        simulated=False,
        total=0,
        session=session,
        seconds=3.0,
    )
    return msgspec.structs.replace(plain, **changes)


def test_the_first_lines_of_a_session():
    job = Job(input="a", run_dir="b", endpoint="chat", model="m", base_url="https://a.test/v3", api_key=NO_KEY)
    job = msgspec.structs.replace(job, model_from="job.toml", base_url_from="default")
    assert target_line(job, 512, ZH) == "512 行 -> m (job.toml)，服务器 a.test (默认)"
    found = FoundRows("a.run", done=1_200, failed=3, left=7, to_send=7, total=1_210, fresh=False)
    assert found_line(found, ZH) == ("继续运行 a.run：成功 1,200 行，失败 3，剩余 7。与上次会话相比没有变化。")


def test_the_summary_says_reason_and_what_to_do_and_keeps_the_command():
    halt = Cause(Kind.AUTH, "401", "The key is wrong", KEY.replace("{key}", "DEEPSEEK_API_KEY"))
    failures = {"timeout": 1, "auth": 2}
    text = summary_text(
        summary(ending="halted", halt=halt, failures=failures, failed=3), "Resume with:  arkbatch run a.jsonl", ZH
    )
    lines = text.splitlines()
    assert lines[0].startswith("已中止：")
    assert any(re.match(r"  失败原因 +1 超时\(timeout\), 2 鉴权失败\(auth\)$", line) for line in lines)
    assert lines[-3:] == [
        "原因：      The key is wrong",
        "怎么办：    检查 API Key（DEEPSEEK_API_KEY）：须完整、已启用，且属于接口地址所在的区域",
        "继续运行：  arkbatch run a.jsonl",
    ]


def test_columns_are_aligned_by_what_a_terminal_shows():
    lines = aligned_lines([("行数", "1"), ("tokens", "2")])
    assert [display_width(line[: re.search(r"\d", line).start()]) for line in lines] == [10, 10]
    lines = grid_lines(["model", "rows"], [["doubao", "12"], ["豆包", "3"]], ZH)
    assert {display_width(line) for line in lines} == {2 + 6 + 2 + 4}


@pytest.mark.parametrize("kind", Kind)
def test_advice_for_every_kind_of_failure_is_chinese_and_its_command_is_whole(kind):
    said = advice_for(kind, "my run", ZH)
    assert "then" not in said
    assert said[0] >= "一"
    assert ("arkbatch retry 'my run' --kind " in said) != ("--rebase" in said)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("zh", ["未完成，当前没有会话在运行", "成功 2，失败 1，剩余 3，共 6", "怎么办：", "继续运行：  "]),
        ("en", ["not finished, and no session is running", "What to do:", "Resume with:  "]),
    ],
)
def test_status_is_in_the_language_of_the_user_and_its_json_in_english(tmp_path, language, words):
    def outcome_of(row):
        return answered(row) if row.number < 3 else failed(row, code="read") if row.number == 3 else None

    run = worked_off(job_of(prompts(tmp_path, *numbered(6))), outcome_of, ending="stopped")
    environ = {"ARKBATCH_LANG": language}
    text = CliRunner().invoke(command, [str(run)], env=environ, catch_exceptions=False).output
    assert [word for word in words if word not in text] == []
    data = CliRunner().invoke(command, [str(run), "--json"], env=environ, catch_exceptions=False).output
    assert msgspec.json.decode(data)["go_on"].startswith("Resume with:  ")
