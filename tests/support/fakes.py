"""A transport that answers from a script. It passes the same contract as the real one: `test_contract.py`."""

import asyncio

import orjson

from arkbatch.core.calls import Break, Broken, Call, Reply

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def answer(text="hello", *, seconds=0.1, usage=USAGE, finish_reason="stop", model="doubao-x"):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return said({"id": "02", "model": model, "choices": [choice], "usage": usage}, seconds=seconds)


def refusal(status, code, message="no", *, seconds=0.1, **headers):
    body = {"error": {"code": code, "message": message, "param": "", "type": ""}}
    return said(body, status, seconds, **{name.replace("_", "-"): value for name, value in headers.items()})


def said(body, status=200, seconds=0.1, **headers):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Reply(status, raw, {"x-request-id": "02" + "0" * 51} | headers, seconds)


# What the simulator does for a marker of that name, as a reply.
SCRIPT = {
    "": answer(),
    "server_error": refusal(500, "InternalServiceError"),
    "bad_gateway": said(b"<html>502 Bad Gateway</html>", 502),
    "rate_rpm": refusal(429, "ModelAccountRpmRateLimitExceeded"),
    "overloaded": refusal(429, "ServerOverloaded"),
    "inflight": refusal(429, "InflightBatchsizeExceeded"),
    "drop_before": Broken(Break.DROPPED, "gone", 0.1),
    "drop_inside": Broken(Break.DROPPED, "gone", 0.1),
    "stall": Broken(Break.TIMEOUT, "silence", 30.0),
    "garbled": said(b'{"id": "0'),
    "error_in_200": said({"error": {"code": "InternalServiceError", "message": "no"}}),
    "no_choices": said({"id": "02", "model": "doubao-x", "choices": [], "usage": USAGE}),
    "empty": answer(""),
    "content_filter": answer("he", finish_reason="content_filter"),
    "length": answer("he", finish_reason="length"),
    "refuse": refusal(400, "InvalidParameter"),
    "sensitive": refusal(400, "InputTextSensitiveContentDetected"),
    "overdue": refusal(403, "AccountOverdueError"),
    "not_open": refusal(404, "ModelNotOpen"),
    "free_quota": refusal(429, "QuotaExceeded", "free trial quota is used up"),
    "set_limit": refusal(429, "SetLimitExceeded"),
}


class FakeTransport:
    """`script(call, attempt)` gives the response; it takes as long as it says that it took.

    calls: what was sent, in order; began: the loop's time of each
    """

    def __init__(self, script=lambda call, attempt: SCRIPT[""]):
        self._script = script
        self._attempts = {}
        self.calls: list[Call] = []
        self.began: list[float] = []

    async def send(self, call):
        self.calls.append(call)
        self.began.append(asyncio.get_running_loop().time())
        attempt = self._attempts[call.body] = self._attempts.get(call.body, 0) + 1
        response = self._script(call, attempt)
        await asyncio.sleep(response.seconds)
        return response
