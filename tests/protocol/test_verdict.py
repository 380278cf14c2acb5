"""What each answer of the service means, against the whole error tables of Ark and of OpenAI."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.calls import Again, Break, Broken, Done, Halt, Kind, Refused, Reply, Scope
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.error_body import MAX_MESSAGE_CHARACTERS as LONGEST
from arkbatch.protocol.error_codes import RULES
from arkbatch.protocol.verdict import UNBELIEVED_WAIT, judge

CHAT, EMBEDDINGS = ENDPOINTS["chat"], ENDPOINTS["embeddings"]
WALL = datetime(2026, 7, 10, 8, 0, tzinfo=UTC).timestamp()  # 16:00 in China
AGAIN, SLOWER, FEWER = (Again, Scope.ROW), (Again, Scope.RATE), (Again, Scope.CONCURRENCY)
REFUSED, HALT = (Refused, None), (Halt, None)


def judged(status, body=b"", headers=None, *, policy=ReplyPolicy(), endpoint=CHAT, asked=None):  # noqa: B008
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return judge(Reply(status, raw, headers or {}, 1.0), endpoint, policy, wall=WALL, body=asked)


def error(code, message="", kind=None):
    return {"error": {"code": code, "message": message, "param": "", "type": kind}}


def meaning(verdict):
    return type(verdict), getattr(verdict, "scope", None)


FREE = "Your account [1] has exhausted its free trial quota for the [m] model. Request ID: 02"
QUEUE = "The request has exceeded the quota. Request ID: 02"
PLAN = "You have exceeded the 5-hour usage quota. It will reset at 2026-07-11 16:59:53 +0800 CST."
LONG = "Total tokens of image and text exceed max message tokens"

# status, code, message, what it means, kind
TABLE = [
    (400, "MissingParameter", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "MissingParameter.messages", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidParameter", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidParameter", LONG, REFUSED, Kind.TOO_LONG),
    (400, "InvalidParameter.top_p", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidParameter.UnsupportedParameter", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidParameter.TosURLInvalid", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidParameter.OversizedImage", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidArgumentError", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidArgumentError.UnknownRole", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidArgumentError.InvalidImageDetail", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidArgumentError.InvalidPixelLimit", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidImageURL.EmptyURL", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidImageURL.InvalidFormat", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "OutofContextError", "", REFUSED, Kind.TOO_LONG),
    (400, "Duplicate.Tags.Key", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "InvalidEndpoint.ClosedEndpoint", "", HALT, Kind.NOT_FOUND),
    (400, "SensitiveContentDetected", "", REFUSED, Kind.BLOCKED),
    (400, "SensitiveContentDetected.SevereViolation", "", REFUSED, Kind.BLOCKED),
    (400, "SensitiveContentDetected.Violence", "", REFUSED, Kind.BLOCKED),
    (400, "InputTextSensitiveContentDetected", "", REFUSED, Kind.BLOCKED),
    (400, "InputImageSensitiveContentDetected.PrivacyInformation", "", REFUSED, Kind.BLOCKED),
    (400, "InputVideoSensitiveContentDetected.PolicyViolation", "", REFUSED, Kind.BLOCKED),
    (400, "InputAudioSensitiveContentDetected", "", REFUSED, Kind.BLOCKED),
    (400, "OutputTextSensitiveContentDetected", "", REFUSED, Kind.BLOCKED),
    (400, "OutputImageSensitiveContentDetected.PolicyViolation", "", REFUSED, Kind.BLOCKED),
    (400, "OutputVideoSensitiveContentDetected", "", REFUSED, Kind.BLOCKED),
    (400, "OutputAudioSensitiveContentDetected", "", REFUSED, Kind.BLOCKED),
    (400, "InputTextRiskDetection", "", REFUSED, Kind.BLOCKED),
    (400, "OutputImageRiskDetection", "", REFUSED, Kind.BLOCKED),
    (400, "ContentSecurityDetectionError", "", AGAIN, Kind.SERVER_ERROR),
    (400, "InvalidSubscription", "", HALT, Kind.DENIED),
    (401, "AuthenticationError", "", HALT, Kind.AUTH),
    (401, "InvalidAccountStatus", "", HALT, Kind.DENIED),
    (403, "AccountOverdueError", "", HALT, Kind.BILLING),
    (403, "OperationDenied.ServiceOverdue", "", HALT, Kind.BILLING),
    (403, "AccessDenied", "", HALT, Kind.DENIED),
    (403, "OperationDenied.PermissionDenied", "", HALT, Kind.DENIED),
    (403, "OperationDenied.ServiceNotOpen", "", HALT, Kind.DENIED),
    (403, "OperationDenied.InvalidState", "", AGAIN, Kind.DENIED),
    (403, "OperationDenied.UnsupportedPhase", "", AGAIN, Kind.DENIED),
    (403, "OperationDenied.FileQuotaExceeded", "", HALT, Kind.QUOTA),
    (403, "OperationDenied.ConflictedValidationSet", "", HALT, Kind.DENIED),
    (403, "OperationDenied.UnsupportedCustomizationType", "", HALT, Kind.DENIED),
    (403, "OperationDenied.CustomizationNotSupported", "", HALT, Kind.DENIED),
    (404, "InvalidEndpointOrModel.NotFound", "", HALT, Kind.NOT_FOUND),
    (404, "InvalidEndpoint.NotFound", "", HALT, Kind.NOT_FOUND),
    (404, "InvalidEndpointOrModel.ModelIDAccessDisabled", "", HALT, Kind.NOT_FOUND),
    (404, "ModelNotOpen", "", HALT, Kind.NOT_FOUND),
    (404, "UnsupportedModel", "", HALT, Kind.NOT_FOUND),
    (404, "NotFound.context", "", REFUSED, Kind.NOT_FOUND),
    (429, "RateLimitExceeded.EndpointRPMExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "RateLimitExceeded.EndpointTPMExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "RateLimitExceeded.EndpointFlexTPMExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "RateLimitExceeded.FoundationModelRPMExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "RateLimitExceeded.FoundationModelTPMExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "RateLimitExceeded.FoundationModelTPDExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "ModelAccountRpmRateLimitExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "ModelAccountTpmRateLimitExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "ModelAccountIpmRateLimitExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "ModelAccountFlexTpmRateLimitExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "APIAccountRpmRateLimitExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "AccountRateLimitExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "ServerOverloaded", "", FEWER, Kind.OVERLOADED),
    (429, "RequestBurstTooFast", "", FEWER, Kind.OVERLOADED),
    (429, "InflightBatchsizeExceeded", "", FEWER, Kind.OVERLOADED),
    (429, "ModelLoadingError", "", FEWER, Kind.OVERLOADED),
    (503, "ModelLoadingError", "", FEWER, Kind.OVERLOADED),
    (429, "QuotaExceeded", FREE, HALT, Kind.QUOTA),
    (429, "QuotaExceeded", QUEUE, FEWER, Kind.OVERLOADED),
    (429, "QuotaExceeded", PLAN, HALT, Kind.QUOTA),
    (429, "AccountQuotaExceeded", PLAN, HALT, Kind.QUOTA),
    (429, "AccountQuotaExceeded", "", HALT, Kind.QUOTA),
    (429, "SetLimitExceeded", "", HALT, Kind.QUOTA),
    (500, "InternalServiceError", "", AGAIN, Kind.SERVER_ERROR),
    # the gateway before Ark
    (400, "MissingRequestInfo", "", HALT, Kind.AUTH),
    (400, "InvalidTimestamp", "", HALT, Kind.AUTH),
    (404, "ServiceNotFound", "", HALT, Kind.NOT_FOUND),
    (404, "InvalidActionOrVersion", "", HALT, Kind.NOT_FOUND),
    (401, "InvalidAccessKey", "", HALT, Kind.AUTH),
    (401, "SignatureDoesNotMatch", "", HALT, Kind.AUTH),
    (400, "InvalidAuthorization", "", HALT, Kind.AUTH),
    (400, "InvalidCredential", "", HALT, Kind.AUTH),
    (401, "InvalidSecretToken", "", HALT, Kind.AUTH),
    (500, "InternalError", "", AGAIN, Kind.SERVER_ERROR),
    (504, "InternalServiceTimeout", "", AGAIN, Kind.SERVER_ERROR),
    (429, "FlowLimitExceeded", "", SLOWER, Kind.RATE_LIMITED),
    (503, "ServiceUnavailableTemp", "", AGAIN, Kind.SERVER_ERROR),
    # OpenAI
    (401, "invalid_api_key", "", HALT, Kind.AUTH),
    (429, "insufficient_quota", "", HALT, Kind.BILLING),
    (429, "rate_limit_exceeded", "", SLOWER, Kind.RATE_LIMITED),
    (429, "rate_limit_exceeded", "Request too large for m: Limit 30000, Requested 50000", REFUSED, Kind.TOO_LONG),
    (404, "model_not_found", "", HALT, Kind.NOT_FOUND),
    (400, "context_length_exceeded", "", REFUSED, Kind.TOO_LONG),
    (400, "content_filter", "", REFUSED, Kind.BLOCKED),
    # codes that are in no table
    (400, "Odd", "", REFUSED, Kind.INVALID_REQUEST),
    (400, "Odd", "This model's maximum context length is 8192 tokens", REFUSED, Kind.TOO_LONG),
    (401, "Odd", "", HALT, Kind.AUTH),
    (402, "Odd", "", HALT, Kind.BILLING),
    (403, "Odd", "", HALT, Kind.DENIED),
    (404, "Odd", "", REFUSED, Kind.NOT_FOUND),
    (405, "Odd", "", HALT, Kind.NOT_FOUND),
    (408, "Odd", "", AGAIN, Kind.TIMEOUT),
    (409, "Odd", "", AGAIN, Kind.SERVER_ERROR),
    (413, "Odd", "", REFUSED, Kind.TOO_LONG),
    (418, "Odd", "", REFUSED, Kind.INVALID_REQUEST),
    (422, "Odd.Er", "", REFUSED, Kind.INVALID_REQUEST),
    (429, "Odd", "", SLOWER, Kind.RATE_LIMITED),
    (500, "Odd", "", AGAIN, Kind.SERVER_ERROR),
    (502, "Odd", "", AGAIN, Kind.SERVER_ERROR),
    (503, "Odd", "", FEWER, Kind.OVERLOADED),
    (529, "Odd", "", FEWER, Kind.OVERLOADED),
    (999, "Odd", "", AGAIN, Kind.SERVER_ERROR),
]


@pytest.mark.parametrize(("status", "code", "message", "means", "kind"), TABLE)
def test_the_error_table(status, code, message, means, kind):
    verdict = judged(status, error(code, message))
    assert (meaning(verdict), verdict.cause.kind, verdict.cause.code) == (means, kind, code)
    assert bool(verdict.cause.advice) is (means is HALT)


@pytest.mark.parametrize(
    ("status", "code", "message", "means", "kind"), [row for row in TABLE if not row[1].startswith("Odd")]
)
def test_a_known_error_inside_a_200_means_the_same(status, code, message, means, kind):
    verdict = judged(200, error(code, message))
    assert (meaning(verdict), verdict.cause.kind) == (means, kind)


def test_no_rule_stands_behind_one_that_always_matches():
    by_key = {}
    for rule in RULES:
        for key in rule.keys:
            by_key.setdefault(key, []).append(rule)
    assert [key for key, rules in by_key.items() if not all(rule.says for rule in rules[:-1])] == []


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.advice], ids=lambda rule: str(rule.keys[0]))
def test_advice_is_one_line_and_only_where_the_run_halts(rule):
    assert rule.scope is None
    assert "\n" not in rule.advice
    assert len(rule.advice) < 180


@pytest.mark.parametrize(
    ("body", "means"),
    [
        (error("Odd", kind="TooManyRequests"), SLOWER),
        (error("Odd", kind="BadRequest"), REFUSED),
        (error(429), SLOWER),
        (error("503"), FEWER),
        (error("Odd"), AGAIN),
        ({"error": "it broke"}, AGAIN),
        ({"code": "AuthenticationError", "message": "flat"}, HALT),
    ],
)
def test_an_error_inside_a_200_is_judged_as_if_it_had_its_status(body, means):
    assert meaning(judged(200, body)) == means


# status, body, what it means, code, a part of the message
SHAPES = [
    (401, {"code": "AuthenticationError", "message": "flat"}, HALT, "AuthenticationError", "flat"),
    (429, error(None, "slow down", "insufficient_quota"), HALT, "insufficient_quota", "slow down"),
    (429, error(None, "slow down", "tokens"), SLOWER, "tokens", "slow down"),
    (404, {"object": "error", "message": "no m", "type": "NotFoundError", "code": 404}, HALT, "NotFoundError", "no m"),
    (404, error(None, "Invalid URL", "invalid_request_error"), HALT, "invalid_request_error", "Invalid URL"),
    (404, {"detail": "Not Found"}, HALT, "http_404", "Not Found"),
    (422, {"detail": [{"loc": ["body"], "msg": "bad"}]}, REFUSED, "http_422", '"msg":"bad"'),
    (400, {"error": "just words"}, REFUSED, "http_400", "just words"),
    (400, {"error": "words", "code": "OutofContextError"}, REFUSED, "OutofContextError", "words"),
    (401, {"ResponseMetadata": {"Error": {"Code": "InvalidAccessKey", "Message": "who"}}}, HALT, "InvalidAccessKey", "who"),
    (502, b"<html><head><title>502 Bad\nGateway</title></head><body>x</body></html>", AGAIN, "http_502", "502 Bad Gateway"),
    (502, b"<h1>Oh &amp; no</h1><script>var x</script>", AGAIN, "http_502", "Oh & no"),
    (503, b"upstream connect error\nreset", FEWER, "http_503", "upstream connect error reset"),
    (500, b"", AGAIN, "http_500", "HTTP 500 without a message"),
    (500, b"\xff\xfe", AGAIN, "http_500", ""),
    (500, {"odd": 1}, AGAIN, "http_500", '{"odd":1}'),
    (500, [1], AGAIN, "http_500", "[1]"),
    (404, b"<html>nginx</html>", HALT, "http_404", "nginx"),
    (429, b"", SLOWER, "http_429", "HTTP 429"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "means", "code", "words"), SHAPES)
def test_errors_are_understood_in_every_shape(status, body, means, code, words):
    verdict = judged(status, body)
    assert (meaning(verdict), verdict.cause.code) == (means, code)
    assert words in verdict.cause.message


def test_a_redirect_halts_and_says_where_it_leads():
    verdict = judged(301, b"", {"location": "https://ark.example/api/v3/chat/completions"})
    assert meaning(verdict) == HALT
    assert "https://ark.example" in verdict.cause.message
    assert "ARK_BASE_URL" in verdict.cause.advice


@pytest.mark.parametrize(
    "key",
    [
        "0a1b2c3d-1111-2222-3333-444455556666",
        "sk-abcdefgh12345678",
        "AKLTOWQyZWVkYjc0",
        "Bearer secret-thing",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi",
    ],
)
def test_a_message_never_shows_a_key(key):
    message = judged(401, error("AuthenticationError", f"Incorrect key: {key}. Request id: 0217")).cause.message
    assert key.split()[-1] not in message
    assert "***" in message
    assert "Request id: 0217" in message


def test_a_long_message_is_one_short_line():
    message = judged(500, error("InternalServiceError", "so\nlong " * 1000)).cause.message
    assert len(message) == LONGEST
    assert "\n" not in message


# Retry-After


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        (" 2 ", 2.0),
        ("0", 0.0),
        ("-3", None),
        ("86400", UNBELIEVED_WAIT),
        ("inf", UNBELIEVED_WAIT),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Fri, 10 Jul 2026 08:00:30 GMT", 30.0),
        ("Friday, 10-Jul-26 08:00:30 GMT", 30.0),
        ("Fri, 10 Jul 2026 07:00:00 GMT", 0.0),
        ("Fri, 99 Jul 2026 07:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, after):
    assert judged(429, error("ServerOverloaded"), {"retry-after": header}).after == after


def test_a_date_in_an_answer_is_by_the_servers_clock_where_it_tells_it():
    """Ours may have been set wrong in the night."""
    dates = {"retry-after": "Wed, 10 Jul 2030 08:00:30 GMT", "date": "Wed, 10 Jul 2030 08:00:00 GMT"}
    assert judged(429, error("ServerOverloaded"), dates).after == 30.0


@pytest.mark.parametrize(("status", "code"), [(429, "Odd"), (500, "InternalServiceError"), (200, "ServerOverloaded")])
def test_retry_after_is_obeyed_whatever_the_error(status, code):
    assert judged(status, error(code), {"retry-after": "7"}).after == 7.0


def test_a_day_quota_pauses_long_unless_the_server_says_how_long():
    code = "RateLimitExceeded.FoundationModelTPDExceeded"
    assert judged(429, error(code)).after == 300.0
    assert judged(429, error(code), {"retry-after": "7"}).after == 7.0


@pytest.mark.parametrize(
    ("status", "code", "wish", "means"),
    [
        (500, "Odd", "false", REFUSED),
        (429, "Odd", "false", REFUSED),
        (400, "Odd", "true", AGAIN),
        (429, "Odd", "true", SLOWER),
        (401, "Odd", "false", HALT),
        (400, "Odd", "maybe", REFUSED),
        (500, "InternalServiceError", "false", AGAIN),
        (400, "InvalidParameter", "true", REFUSED),
    ],
)
def test_x_should_retry_counts_only_where_the_code_is_unknown(status, code, wish, means):
    assert meaning(judged(status, error(code), {"x-should-retry": wish})) == means


# Plan quotas


@pytest.mark.parametrize("code", ["QuotaExceeded", "AccountQuotaExceeded", "QuotaExceeded.AgentPlanQuotaExceeded"])
def test_a_plan_quota_that_returns_soon_is_waited_for(code):
    verdict = judged(429, error(code, "It will reset at 2026-07-10 16:59:53 +0800 CST. Bye"))
    assert meaning(verdict) == SLOWER
    assert verdict.after == 59 * 60 + 53
    assert verdict.cause.advice == ""


@pytest.mark.parametrize("zone", [" +0800 CST", ""])
def test_a_plan_quota_that_returns_late_halts_and_says_when(zone):
    verdict = judged(429, error("QuotaExceeded", f"It will reset at 2026-07-11 16:00:00{zone}"))
    assert meaning(verdict) == HALT
    assert "2026-07-11 16:00:00+08:00 (in 1 day, 0:00:00)" in verdict.cause.advice


def test_a_reset_time_in_the_past_is_no_wait():
    assert judged(429, error("QuotaExceeded", "will reset at 2026-07-10 15:00:00 +0800")).after == 0.0


def test_a_reset_time_that_cannot_be_read_halts():
    assert meaning(judged(429, error("QuotaExceeded", "will reset at 2026-99-99 15:00:00"))) == HALT


# Exchanges without a reply


@pytest.mark.parametrize(
    ("how", "means", "kind"),
    [
        (Break.CONNECT, AGAIN, Kind.CONNECTION),
        (Break.TIMEOUT, AGAIN, Kind.TIMEOUT),
        (Break.DROPPED, AGAIN, Kind.CONNECTION),
        (Break.GARBLED, AGAIN, Kind.BAD_REPLY),
        (Break.TOO_LARGE, REFUSED, Kind.BAD_REPLY),
    ],
)
def test_a_broken_exchange_is_the_rows_own_matter(how, means, kind):
    verdict = judge(Broken(how, "detail"), CHAT, ReplyPolicy(), wall=WALL)
    assert (meaning(verdict), verdict.cause.kind, verdict.cause.code) == (means, kind, how.value)
    assert "detail" in verdict.cause.message


def test_every_kind_of_break_has_a_meaning():
    assert all(judge(Broken(how, ""), CHAT, ReplyPolicy(), wall=WALL).cause.message for how in Break)


# Answers with status 200


def answer(content="hello", finish="stop"):
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    choices = [{"index": 0, "finish_reason": finish, "message": message}]
    return {"model": "real", "service_tier": "default", "choices": choices, "usage": usage}


USAGE = {"input": 3, "output": 2}


def test_an_answer_is_done_with_its_usage():
    assert judged(200, answer()) == Done(USAGE, "real", "default", "stop")


POLICIES = [
    (ReplyPolicy(), "x", "stop", (Done, None), None),
    (ReplyPolicy(), "x", "length", (Done, None), None),
    (ReplyPolicy(), "x", "content_filter", REFUSED, Kind.BLOCKED),
    (ReplyPolicy(), "", "content_filter", REFUSED, Kind.BLOCKED),
    (ReplyPolicy(), "", "stop", AGAIN, Kind.EMPTY),
    (ReplyPolicy(), "", "length", AGAIN, Kind.EMPTY),
    (ReplyPolicy(on_empty="fail"), "", "stop", REFUSED, Kind.EMPTY),
    (ReplyPolicy(on_empty="keep"), "", "stop", (Done, None), None),
    (ReplyPolicy(retry_on_finish_reason=frozenset({"length"})), "x", "length", AGAIN, Kind.TRUNCATED),
    (ReplyPolicy(fail_on_finish_reason=frozenset({"length"})), "x", "length", REFUSED, Kind.TRUNCATED),
    (ReplyPolicy(fail_on_finish_reason=frozenset()), "x", "content_filter", (Done, None), None),
    (ReplyPolicy(retry_on_finish_reason=frozenset({"odd"})), "x", "odd", AGAIN, Kind.BAD_REPLY),
]


@pytest.mark.parametrize(("policy", "content", "finish", "means", "kind"), POLICIES)
def test_what_a_finish_reason_or_an_empty_answer_means_is_the_jobs_choice(policy, content, finish, means, kind):
    verdict = judged(200, answer(content, finish), policy=policy)
    assert meaning(verdict) == means
    assert (verdict.usage, verdict.model, verdict.service_tier) == (USAGE, "real", "default")
    assert kind is None or verdict.cause.kind is kind


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html>login</html>", "not_json"),
        (b"", "not_json"),
        (b'{"choices": [', "not_json"),
        (b"data: {}\n\n", "not_json"),
        ([], "not_object"),
        ({"id": "02"}, "no_choices"),
        ({"choices": [{}]}, "no_message"),
    ],
)
def test_a_200_that_is_no_answer_is_told_apart_and_tried_again(body, code):
    verdict = judged(200, body)
    assert (meaning(verdict), verdict.cause.kind, verdict.cause.code) == (AGAIN, Kind.BAD_REPLY, code)


def test_a_useless_200_that_was_billed_says_so():
    verdict = judged(200, {"choices": [], "model": "real", "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    assert (verdict.usage, verdict.model) == (USAGE, "real")


def test_embeddings_that_answer_half_of_the_inputs_are_tried_again():
    body = {"data": [{"index": 0, "embedding": [0.5]}], "model": "e", "usage": {"prompt_tokens": 3}}
    verdict = judged(200, body, endpoint=EMBEDDINGS, asked={"input": ["a", "b"]})
    assert (meaning(verdict), verdict.cause.code) == (AGAIN, "wrong_data")
    assert meaning(judged(200, body, endpoint=EMBEDDINGS, asked={"input": "a"})) == (Done, None)


@given(st.integers(200, 999), st.binary(max_size=40), st.text(max_size=10))
def test_no_reply_is_beyond_judgement(status, body, header):
    verdict = judged(status, body, {"retry-after": header, "x-should-retry": header, "location": header})
    assert isinstance(verdict, Again | Refused | Halt | Done)


@given(st.integers(200, 599), st.text(max_size=12), st.text(max_size=12), st.text(max_size=30))
def test_no_error_is_beyond_judgement(status, code, kind, message):
    verdict = judged(status, error(code, message, kind))
    assert len(verdict.cause.message) <= LONGEST
