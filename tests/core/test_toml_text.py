"""Whatever is wrong with TOML is one kind of error, with a reason."""

from decimal import Decimal

import pytest

from arkbatch.core.toml_text import TomlError, oddity_in, parse_toml


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = ", "Invalid value"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a = " + "[" * 70 + "]" * 70, "nested more than 64 levels deep"),
        (".".join("a" * 3000) + " = 1", "nested more than 64 levels deep"),
        ("a = " + "9" * 6000, "a number that is too long"),
        ("a = [{b = 123456789012345678901234567890}]", "a whole number beyond 64 bits"),
        ("a = -9223372036854775809", "a whole number beyond 64 bits"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_words(text, reason):
    with pytest.raises(TomlError, match=reason):
        parse_toml(text)


def test_what_can_be_kept_is_read():
    assert parse_toml("a = 18446744073709551615\nb = 1.5", parse_float=Decimal) == {"a": 2**64 - 1, "b": Decimal("1.5")}
    assert oddity_in({"a": [[1]]}) == ""
