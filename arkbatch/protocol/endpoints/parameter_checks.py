"""Checks of single request parameters before they are sent: their type and their documented range.

A `Check` takes a parameter's name and its value and says in one line what is wrong, or None. Names that no
table lists pass untouched, and so do nulls, which the service treats as absent. Enumerations
(`reasoning_effort`, `service_tier`, roles ...) are only checked for their type: each has grown since it was
first documented, and a new word must not need a new release of ours.
"""

import json
from collections.abc import Callable, Mapping

from arkbatch.core.row import Body

Check = Callable[[str, object], str | None]

SHOWN = 60  # characters of a wrong value in a message


def wrong_value(name: str, value: object, allowed: str) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if len(shown) > SHOWN:
        shown = shown[:SHOWN] + "…"
    return f"{name} is {shown}; allowed is {allowed}"


def _no_parameter(what: str, advice: str) -> Check:
    def check(name: str, value: object) -> str:
        del value
        return f"{name} is {what} and no parameter of the API, so it would change nothing: {advice}"

    return check


_ARGUMENT = "an argument of Ark's SDK"
_ENCRYPT = "encryption is asked for with encrypt = true in the job (--encrypt)"
# Whoever writes these means something that would not happen; where it is encryption, the prompt would leave in clear.
MISTAKEN: Mapping[str, Check] = {
    "extra_headers": _no_parameter(_ARGUMENT, f"headers of all rows go into [headers] of the job file, and {_ENCRYPT}"),
    "extra_body": _no_parameter(_ARGUMENT, "write what it holds beside the other parameters"),
    "extra_query": _no_parameter(_ARGUMENT, "leave it out"),
    "x-is-encrypted": _no_parameter("a header", _ENCRYPT),
    "X-Is-Encrypted": _no_parameter("a header", _ENCRYPT),
    "encrypt": _no_parameter("said of a whole job", _ENCRYPT),
    "confidential": _no_parameter("said of a whole job", _ENCRYPT),
}


def first_problem(body: Body, checks: Mapping[str, Check], *required: str) -> str | None:
    """Return what is wrong with the first wrong parameter, or which required one is missing; None: all is right."""
    for name, value in body.items():
        if value is not None and (check := checks.get(name)) is not None:
            reason = check(name, value)
            if reason is not None:
                return reason
    for name in required:
        if body.get(name) is None:
            return f"{name} is missing"
    return None


def number_between(low: float, high: float) -> Check:
    def check(name: str, value: object) -> str | None:
        if isinstance(value, float | int) and type(value) is not bool and low <= value <= high:
            return None
        return wrong_value(name, value, f"a number from {low:g} to {high:g}")

    return check


def whole_number(low: int, high: int | None = None) -> Check:
    allowed = f"a whole number from {low}" + ("" if high is None else f" to {high}")

    def check(name: str, value: object) -> str | None:
        if type(value) is int and low <= value and (high is None or value <= high):
            return None
        return wrong_value(name, value, allowed)

    return check


def of_type(allowed: str, *types: type) -> Check:
    """Return a check of the exact type, so that `true` is no number. `allowed`: the types in plain words."""

    def check(name: str, value: object) -> str | None:
        return None if type(value) in types else wrong_value(name, value, allowed)

    return check


text = of_type("a text", str)
boolean = of_type("true or false", bool)
mapping = of_type("an object", dict)


def non_empty_text(name: str, value: object) -> str | None:
    """Check that a value is a text that is not empty."""
    return None if type(value) is str and value else wrong_value(name, value, "a text that is not empty")


def list_of_objects(name: str, value: object) -> str | None:
    """Check that a value is a list of objects."""
    if type(value) is list and all(type(item) is dict for item in value):
        return None
    return wrong_value(name, value, "a list of objects")
