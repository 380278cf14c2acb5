import pytest

from arkbatch.rows.job_diff import asked_digest, job_differences


@pytest.mark.parametrize(
    ("before", "now", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 -> 2"]),
        ({}, {"a": None}, []),
        ({}, {"a": "x"}, ['a: not set -> "x"']),
        ({"d": {"t": 0.2, "p": 1}}, {"d": {"t": 0.7, "p": 1}}, ["d.t: 0.2 -> 0.7"]),
        ({"t": None}, {"t": {"user": "u"}}, ['t.user: not set -> "u"']),
        ({"t": {"user": "u"}}, {"t": None}, ['t.user: "u" -> not set']),
        ({"d": {"stop": {"a": 1}}}, {"d": {"stop": "x"}}, ['d.stop: {"a":1} -> "x"']),
        ({"d": {"stop": ["x"]}}, {"d": {"stop": {"a": 1}}}, ['d.stop: ["x"] -> {"a":1}']),
        ({"d": 0}, {"d": {}}, ["d: 0 -> {}"]),
        ({"a": "x" * 200}, {"a": "y"}, ['a: "' + "x" * 76 + '... -> "y"']),
        ({"模型": "甲"}, {"模型": "乙"}, ['模型: "甲" -> "乙"']),
    ],
)
def test_each_value_that_differs_has_a_line(before, now, lines):
    assert job_differences(before, now) == lines


def test_texts_that_differ_behind_their_beginning_are_shown_where_they_differ():
    text = "You are a careful translator of contracts. " * 10
    (line,) = job_differences({"system": text}, {"system": text + "Be brief."})
    old, new = line.removeprefix("system: ").split(" -> ")
    assert old != new


def test_the_digest_does_not_hang_on_the_order():
    assert asked_digest({"a": 1, "b": 2}) == asked_digest({"b": 2, "a": 1}) != asked_digest({"a": 1})
