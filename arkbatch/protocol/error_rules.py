"""Finds the rule for an error, in the order in which the evidence counts.

A rule is found by the provider's own numbers (its dialect), then by the code, then by the code without its last dotted
part (`InvalidParameter.X` is an `InvalidParameter`). If no such code is known, the words of the message decide
(`error_words`), then codes and types that several providers use for several things, and at last the status.
"""

import re
from collections.abc import Iterator, Mapping

from arkbatch.core.calls import Confirm, Kind, Scope
from arkbatch.protocol.error_body import Complaint
from arkbatch.protocol.error_codes import CODES, MEANINGS, NO_SUCH_PATH, STATUSES, TYPES, Rule, again, halt
from arkbatch.protocol.error_words import Meaning, meaning_of

# Words about load in a refusal of the request itself are weak evidence: a misreading must not hold up the whole run.
_REFUSALS_OF_THE_REQUEST = {400, 404, 405, 413, 422}
_SHARED = {Scope.RATE, Scope.CONCURRENCY}
_PAGE = halt(
    Kind.DENIED,
    "a firewall or proxy answered with a web page: see whether it lets these requests through",
    confirm=Confirm.SEVERAL_ROWS,
)

_Index = Mapping[str | int, list[tuple[re.Pattern[str], Rule]]]


def _index_rules(rules: tuple[Rule, ...]) -> _Index:
    index: dict[str | int, list[tuple[re.Pattern[str], Rule]]] = {}
    for rule in rules:
        pattern = re.compile(rule.says, re.IGNORECASE)
        for key in rule.keys:
            index.setdefault(key, []).append((pattern, rule))
    return index


_BY_CODE, _BY_TYPE, _BY_STATUS = _index_rules(CODES), _index_rules(TYPES), _index_rules(STATUSES)


def rule_for(said: Complaint, status: int, numbers: Mapping[str, Meaning] = {}) -> tuple[Rule, bool]:
    """Return the rule, and whether the service's own words found it (otherwise only the status did).

    numbers: what the codes of this provider mean
    """
    if numbers and (meaning := _by_number(said, status, numbers)) is not None:
        return MEANINGS[meaning], True
    for code in _code_families(said.code):
        if (rule := _match_rule(_BY_CODE, code, said.message)) is not None:
            return rule, True
    if said.is_page and status in (401, 403):
        return _PAGE, False
    if (meaning := _meaning_of_words(said, status)) is not None:
        return _for_its_row_alone(MEANINGS[meaning], status), True
    for word in (said.code, said.type):
        if (rule := _match_rule(_BY_TYPE, word, said.message) or _match_rule(_BY_CODE, word, said.message)) is not None:
            return rule, True
    if status == 404 and not said.code:
        return NO_SUCH_PATH, False
    rule = _match_rule(_BY_STATUS, status, said.message) or _match_rule(
        _BY_STATUS, min(max(status // 100, 2), 5), said.message
    )
    assert rule is not None, f"no rule for status {status}"
    return rule, False


def _by_number(said: Complaint, status: int, numbers: Mapping[str, Meaning]) -> Meaning | None:
    names = [said.code, said.type, str(said.status), f"http_{status}"]
    if not said.message:
        names.append(f"http_{status}_empty")
    return next((numbers[name] for name in names if name in numbers), None)


def _meaning_of_words(said: Complaint, status: int) -> Meaning | None:
    if said.is_moderation:
        return Meaning.BLOCKED
    if said.is_bad_sample:
        return Meaning.TEMPORARY
    return meaning_of(f"{said.message} {said.code} {said.type} {said.words}", status)


def _for_its_row_alone(rule: Rule, status: int) -> Rule:
    return again(rule.kind, pause=rule.pause) if rule.scope in _SHARED and status in _REFUSALS_OF_THE_REQUEST else rule


def _code_families(code: str) -> Iterator[str]:
    """Yield `A.B.C`, then `A.B`, then `A`."""
    while code:
        yield code
        code = code.rpartition(".")[0]


def _match_rule(index: _Index, key: str | int, message: str) -> Rule | None:
    for pattern, rule in index.get(key, ()):
        if pattern.search(message):
            return rule
    return None
