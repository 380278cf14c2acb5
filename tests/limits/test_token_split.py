"""Limits of input and of output tokens, and of how steeply traffic may rise."""

import random
from collections import deque

import pytest
from msgspec.structs import replace
from nights import job_for, night, recorded, records
from runs import prompts

from arkbatch.config.resolve import resolve_job
from arkbatch.core.job_sections import Limits
from arkbatch.engine import session_parts as building
from arkbatch.journal.run_directory import RESULTS
from arkbatch.limits.token_rate import TokenRate, Window
from arkbatch.limits.token_split import NO_TOKENS, STEEPEST, SplitTokenRates, TokenGrowth, Tokens


def tokens_of(given, generated):
    return Tokens(given + generated, given)


def spend_all(allowance, amounts, *, until=float("inf"), settle=lambda amount: amount):
    """When each call went, one after the other as soon as it may, and settled a second later."""
    now, went, open_calls = 1000.0, [], deque()
    for amount in amounts:
        while open_calls and open_calls[0][0] + 1 <= now:
            at, reserved = open_calls.popleft()
            allowance.settle_tokens(now, at, reserved, settle(reserved))
        while (wait := allowance.ready_in(now, amount)) > 0:
            now += wait + 1e-6
        if now > until:
            break
        allowance.spend_tokens(now, amount)
        open_calls.append((now, amount))
        went.append((now, settle(amount)))
    return went


def busiest(went, part):
    """The most of it that any sliding minute saw."""
    return max(sum(part(t) for at, t in went if begin <= at < begin + 60) for begin, _ in went)


@pytest.mark.parametrize(("given", "generated"), [(10_000, 2_000), (10_000, None), (None, 2_000)])
def test_no_minute_passes_either_limit_and_the_scarcer_is_used(given, generated):
    chance = random.Random(1)
    calls = [tokens_of(chance.randint(50, 150), chance.randint(10, 60)) for _ in range(900)]
    shares = SplitTokenRates(given and TokenRate(given, 1000.0), generated and TokenRate(generated, 1000.0))
    went = spend_all(shares, calls)
    used = [(busiest(went, lambda t: t.input), given), (busiest(went, lambda t: t.output), generated)]
    assert all(most <= limit for most, limit in used if limit)
    assert max(most / limit for most, limit in used if limit) > 0.95


def test_what_was_reserved_is_settled_in_each_part():
    shares = SplitTokenRates(TokenRate(1000, 0.0), TokenRate(1000, 0.0))
    shares.spend_tokens(0.0, tokens_of(900, 900))
    assert shares.ready_in(1.0, tokens_of(500, 0)) > 30
    shares.settle_tokens(1.0, 0.0, tokens_of(900, 900), tokens_of(100, 900))
    assert shares.ready_in(7.0, tokens_of(500, 0)) == 0
    assert shares.ready_in(7.0, tokens_of(500, 500)) > 30


def test_a_limit_that_is_new_knows_the_last_minute_and_what_is_in_flight():
    shares, used = SplitTokenRates(None, None), Window(1000.0, 60.5, 0.5)
    used.add(1030.0, 700)
    shares.spend_tokens(1039.0, tokens_of(300, 100))
    shares.change_limits(1040.0, None, 1000, used, 400)
    assert shares.ready_in(1041.0, tokens_of(50, 1)) > 40  # all of both might have been output
    shares.settle_tokens(1042.0, 1039.0, tokens_of(300, 100), tokens_of(300, 80))
    assert shares.ready_in(1050.0, tokens_of(50, 100)) == 0  # 780 of it are used
    shares.change_limits(1051.0, 100, None, used, 0)
    assert shares.ready_in(1052.0, tokens_of(0, 10**6)) == 0
    assert shares.ready_in(1052.0, tokens_of(1, 0)) > 0


def test_a_limit_that_is_changed_goes_on_from_what_was_used():
    shares = SplitTokenRates(TokenRate(1000, 1000.0), None)
    shares.spend_tokens(1000.0, tokens_of(500, 0))
    shares.change_limits(1030.0, 400, None, Window(1000.0, 60.5, 0.5), 0)
    assert 29 < shares.ready_in(1031.0, tokens_of(10, 0)) < 32
    shares.settle_tokens(1031.0, 1000.0, tokens_of(500, 0), tokens_of(100, 0))
    assert shares.ready_in(1032.0, tokens_of(10, 0)) == 0


def test_a_call_that_was_never_sent_gives_all_back():
    shares = SplitTokenRates(TokenRate(1000, 0.0), TokenRate(1000, 0.0))
    shares.spend_tokens(0.0, tokens_of(900, 900))
    shares.settle_tokens(0.0, 0.0, tokens_of(900, 900), NO_TOKENS)
    assert shares.ready_in(0.5, tokens_of(900, 900)) == 0


def test_traffic_rises_by_three_million_tokens_a_minute_and_no_faster():
    went = spend_all(TokenGrowth(1000.0), [Tokens(20_000)] * 4_000, until=1300.0)
    minutes = [sum(tokens.total for at, tokens in went if 1000 + 60 * n <= at < 1060 + 60 * n) for n in range(5)]
    assert all(after <= before + STEEPEST for before, after in zip([0, *minutes], minutes, strict=False))
    assert minutes[3] > 8_000_000


def test_a_call_larger_than_the_rise_goes_alone():
    assert TokenGrowth(0.0).ready_in(0.0, Tokens(10**9)) == 0


def test_ark_is_met_with_that_slope_and_others_are_not(tmp_path):
    job = job_for(tmp_path, 1)
    at_ark = replace(job, base_url="https://ark.cn-beijing.volces.com/api/v3")
    assert [type(each) for each in building._further_limits(at_ark, 0.0)] == [TokenGrowth]
    assert building._further_limits(job, 0.0) == building._further_limits(replace(at_ark, lane="batch"), 0.0) == []


@pytest.mark.parametrize(("flag", "part"), [("input_tpm", "input"), ("output_tpm", "output")])
def test_a_run_keeps_its_limit_of_a_part_in_every_minute(tmp_path, flag, part):
    summary, _ = night(job_for(tmp_path, 300, concurrency=16, **{flag: 6000.0}), latency=0.5)
    assert recorded(tmp_path) == [list(range(1, 301)), []]
    total = sum(line["usage"][part] for line in records(tmp_path, RESULTS))
    assert total / summary.seconds * 60 < 6000 * 1.05
    assert total / summary.seconds * 60 > 6000 * 0.8


def test_limits_auto_says_what_saying_nothing_says(tmp_path):
    prompts(tmp_path, {"prompt": "a"})
    file = tmp_path / "job.toml"
    file.write_text('input = "in.jsonl"\nmodel = "m"\nlimits = "auto"\n')
    assert resolve_job("job.toml", {"simulate": True}, {}, tmp_path).limits == Limits()
    assert resolve_job("job.toml", {"simulate": True, "rpm": 60.0}, {}, tmp_path).limits == Limits(rpm=60.0)
