"""The packaged table of published limits."""

import pytest

from arkbatch.limits.published_limits import provider_entries, published_limits, ramp_at
from arkbatch.pricing.price_book import normal_name

ARK = "https://ark.cn-beijing.volces.com/api/v3"


@pytest.mark.parametrize(
    ("model", "rpm"),
    [
        ("doubao-seed-2-1-pro-260915", 500),
        ("doubao-seed-2.0-lite-260428", 30_000),
        ("doubao-seed-1-6-250615", 30_000),
        ("doubao-seed-1-6-flash-250828", 30_000),
        ("doubao-seed-code-preview-251028", 5_000),
        ("deepseek-v3-2-251201", 15_000),
        ("doubao-embedding-large-text-250515", 1_000),
    ],
)
def test_a_model_has_the_limit_of_its_family(model, rpm):
    assert published_limits(model, ARK).start.rpm == rpm


@pytest.mark.parametrize("model", ["ep-20260101000000-abcde", "doubao-seed-9-9-pro", "gpt-4o", ""])
def test_what_is_not_published_is_not_guessed(model):
    assert published_limits(model, ARK) is None


def test_the_same_name_elsewhere_has_other_limits():
    assert published_limits("deepseek-v3", "https://api.deepseek.com/v1") is None
    assert published_limits("deepseek-v3", ARK) is not None


def test_each_entry_is_spelt_as_it_is_looked_up():
    for entry in provider_entries("ark"):
        assert all(normal_name(name) == name for name in entry.models)
        assert entry.rpm


@pytest.mark.parametrize(
    ("base_url", "ramps"),
    [
        (ARK, True),
        ("https://ark.ap-southeast.bytepluses.com/api/v3", True),
        ("https://api.openai.com/v1", False),
        ("http://127.0.0.1:8080/api/v3", False),
        ("https://volces.com.example.org/v1", False),
    ],
)
def test_only_ark_is_begun_slowly(base_url, ramps):
    assert (ramp_at(base_url) is not None) is ramps
