"""The soak compares each call with its bill, also of rows that an earlier session had begun."""

import importlib.util
from pathlib import Path

FILE = Path(__file__).parents[2] / "benchmarks" / "soak.py"
spec = importlib.util.spec_from_file_location("benchmark_soak", FILE)
soak = importlib.util.module_from_spec(spec)
spec.loader.exec_module(soak)

BILL = {"input": 478, "output": 72, "cached": 320}
LINE = {
    "calls": [{"request_id": "a", "verdict": "done"}],
    "usage": {"input": 966, "output": 131, "cached": 640},
    "discarded": {"input": 10, "output": 3},
    "before": [{"usage": {"input": 478, "output": 56, "cached": 320}}],
}


def test_what_an_earlier_session_and_discarded_answers_billed_is_not_the_last_calls():
    bills = soak.BillsByDialect({"a": ("", BILL)})
    bills.add(LINE)
    assert (bills.same.total(), bills.other.total()) == (1, 0)


def test_a_call_that_was_counted_otherwise_is_told():
    bills = soak.BillsByDialect({"a": ("", {**BILL, "output": 73})})
    bills.add(LINE)
    assert (bills.same.total(), bills.other.total()) == (0, 1)


def test_an_answer_that_lacks_only_its_usage_is_what_a_killed_server_leaves_and_no_more_of_them():
    broken_off = {"request_id": "a", "verdict": "bad_reply", "code": "abort"}
    bills = soak.BillsByDialect({"a": ("finish_abort", BILL)})
    bills.add({"calls": [broken_off, {"request_id": "b", "verdict": "done"}], "usage": {}})
    assert "usage equals what the simulator billed, in 0 kinds of answers" in list(bills.report(kills=1))
    assert "usage DIFFERS FROM what the simulator billed, in 0 kinds of answers" in list(bills.report(kills=0))
