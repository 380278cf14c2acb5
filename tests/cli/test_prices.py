"""What `arkbatch prices` prints."""

import json

import pytest
from click.testing import CliRunner

from arkbatch.cli.prices import command
from arkbatch.core.errors import JobError, UsageError


def prices(*args):
    return CliRunner().invoke(command, args, catch_exceptions=False).output


def test_all_prices_are_listed_with_currency_and_date():
    lines = prices().splitlines()
    assert lines[0].split()[:2] == ["model", "per"]
    assert any(line.split()[:3] == ["doubao-embedding-large", "CNY", "online"] for line in lines)
    assert any(line.split()[:3] == ["seed-2.0-pro", "USD", "batch"] for line in lines)


def test_a_model_is_explained_with_tiers_source_and_dates():
    text = prices("doubao-seed-1-6-250615")
    assert "0-32     0-0.2" in text
    assert "0-32     over 0.2" in text
    assert "128-256  any" in text
    assert "checked on  2026-05-28, confidence A" in text
    assert "flash" not in text


def test_one_id_is_shown_at_each_provider_unless_one_is_chosen():
    assert "at ark" in prices("glm-5-2-260617")
    assert "at byteplus" in prices("glm-5-2-260617")
    assert "at byteplus" not in prices("glm-5.2", "--provider", "ark")


@pytest.mark.parametrize("model", ["deepseek-v4-pro-ga-260813", "deepseek-v4-flash-ga-260731"])
def test_the_ids_under_which_ark_serves_deepseek_v4_have_prices(model):
    assert "CNY" in prices(model)


def test_json_has_decimals_as_strings():
    rows = json.loads(prices("doubao-seed-1.6-flash", "--json"))
    assert rows[0]["tier"][0]["price"]["batch"] == {"input": "0.075", "output": "0.75", "cached": "0.03"}


def test_own_prices_are_listed_over_ours(tmp_path):
    file = tmp_path / "mine.toml"
    peak = "peak = { days = [1, 2], hours = [[09:00:00, 12:00:00]] }"
    file.write_text(
        f'[map]\nep-1 = "mine"\n[[model]]\nfamily = "mine"\ncurrency = "EUR"\n{peak}\n'
        "price.online = { input = 1.50, output = 2, audio_input = 3 }\nprice.off_peak = { input = 1, output = 1 }\n",
        encoding="utf-8",
    )
    text = prices("ep-1", "--prices", str(file))
    assert "mine at any provider, EUR per million tokens" in text
    assert "audio 3" in text
    assert "09:00-12:00 in Beijing" in text


def test_an_unknown_model_says_how_to_give_its_price():
    with pytest.raises(UsageError, match=r"gpt-4o is not in the price book.*--prices FILE"):
        prices("gpt-4o")


def test_a_broken_file_is_one_error():
    with pytest.raises(JobError, match="cannot read"):
        prices("--prices", "no-such-file.toml")
