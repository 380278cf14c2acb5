"""What errors of providers, servers, gateways and proxies mean, in the words in which they send them.

Each line of `errors_of_providers.jsonl` is one reply: its status, body and headers, and in a word what becomes of it.
They are written from documents, source code and public bug reports; no service was asked.
"""

from pathlib import Path

import orjson
import pytest

from arkbatch.core.calls import Again, Halt, Kind, Refused, Reply, Scope
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.verdict import judge

REPLIES = [
    orjson.loads(line) for line in Path(__file__).with_name("errors_of_providers.jsonl").read_bytes().splitlines()
]
WALL = 1_783_670_400.0  # 2026-07-10 08:00 UTC
MEANINGS = {
    "key": (Halt, Kind.AUTH),
    "money": (Halt, Kind.BILLING),
    "notfound": (Halt, Kind.NOT_FOUND),
    "denied": (Halt, Kind.DENIED),
    "long": (Refused, Kind.TOO_LONG),
    "blocked": (Refused, Kind.BLOCKED),
    "param": (Refused, Kind.INVALID_REQUEST),
    "rate": (Again, Scope.RATE),
    "load": (Again, Scope.CONCURRENCY),
    "again": (Again, Scope.ROW),
}


def judged(reply):
    body = reply["body"]
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
    response = Reply(reply["status"], raw, reply.get("headers", {}), 1.0)
    return judge(response, ENDPOINTS["chat"], ReplyPolicy(), wall=WALL)


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply["name"])
def test_an_error_means_what_its_provider_means_by_it(reply):
    verdict = judged(reply)
    if reply["means"] == "quota":  # of an hour or a day: waited for, or told with the time of its return
        assert verdict.cause.kind is Kind.QUOTA
    else:
        about = verdict.scope or Scope.ROW if isinstance(verdict, Again) else verdict.cause.kind
        assert (type(verdict), about) == MEANINGS[reply["means"]]


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply["name"])
def test_a_reply_that_says_something_is_told_in_its_own_words(reply):
    assert judged(reply).cause.message


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Rate limit is exceeded. Try again in 00:01:30.", 90.0),
        ("Quota will be replenished in 00:12:32.", 752.0),
        ("You will regain access on 2026-07-10 at 08:10 UTC.", 600.0),
    ],
)
def test_a_clock_in_words_is_a_wait(said, seconds):
    assert judged({"status": 429, "body": {"message": said}}).after == seconds
