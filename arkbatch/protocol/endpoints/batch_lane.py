"""`/batch/...`: the same calls on Ark's batch lane, at half the price.

Each lane has endpoint ids of its own (`ep-bi-...` here), and an id on the wrong lane is refused here: the service would
only say that it does not exist. The batch lane does not stream.
"""

from msgspec.structs import replace

from arkbatch.core.row import Body
from arkbatch.protocol.endpoints.base import Endpoint

LANE = "batch"
_PREFIX = "batch_"
_BATCH_ID = "ep-bi-"


def on_batch_lane(online: Endpoint) -> Endpoint:
    """Return the same API on the batch lane."""

    def problem(body: Body) -> str | None:
        if body.get("stream"):
            return "stream is true, and the batch lane does not stream; leave it out"
        return online.problem(body)

    path = f"/{LANE}{online.path}"
    return replace(online, name=_PREFIX + online.name, path=path, problem=problem, misshapen=problem)


def batch_name(endpoint: str) -> str:
    """Return the name of the endpoint on the batch lane."""
    return endpoint if endpoint.startswith(_PREFIX) else _PREFIX + endpoint


def online_name(endpoint: str) -> str:
    """Return the name of the endpoint online; both lanes have the same parameters."""
    return endpoint.removeprefix(_PREFIX)


def wrong_lane(model: str, lane: str) -> str | None:
    """Return why an endpoint id cannot be called on this lane, or None. Other names do not show their lane."""
    if lane == LANE and model.startswith("ep-") and not model.startswith(_BATCH_ID):
        return f"{model} is an endpoint for online calls; the batch lane takes batch endpoints ({_BATCH_ID}...)"
    if lane == "job" and model.startswith("ep-"):
        return f"{model} is an endpoint; a batch inference job takes a model id, such as doubao-seed-1-6-251015"
    if lane != LANE and model.startswith(_BATCH_ID):
        return f'{model} is a batch endpoint; it is called with lane = "batch" (--lane batch)'
    return None
