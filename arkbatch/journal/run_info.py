"""What `run.json` says: what was asked, and the sessions that worked on it."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from arkbatch.core.input_info import InputInfo
from arkbatch.core.job_sections import Embeddings
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.template_syntax import Reading, Template

FORMAT = 1


class SessionInfo(Struct, omit_defaults=True):
    """One start of `run` or `retry` on this directory.

    limits: those it began with; steered: what was ordered while it worked, with the limits that were set
    """

    number: int
    command: str
    began_at: str
    version: str = ""
    ended_at: str = ""
    ending: str = ""
    seconds: float = 0.0
    limits: dict[str, Any] = {}
    changes: list[str] = []
    steered: list[LimitChange] = []


class RunInfo(Struct):
    """`run.json`: what was asked, and the sessions that worked on it.

    asked: what must not change between sessions; job: all of the job, as it was in the last one
    row_limit: rows from the top that are to be worked off, None for all; last_row: the number of the last of them
    prices: the rows of the price book that were used, so that a later price does not alter the past
    price_list: whose list prices hold, "" where the address says
    """

    run_id: str
    format: int
    created_at: str
    simulated: bool
    input: InputInfo
    asked: dict[str, Any]
    asked_digest: str
    job: dict[str, Any]
    row_limit: int | None = None
    prices: dict[str, Any] | None = None
    sessions: list[SessionInfo] = []
    last_row: int | None = None
    price_list: str = ""


class _AskedParts(Struct):
    """What every reader of a run needs of `asked`."""

    endpoint: str
    model: str
    base_url: str
    defaults: dict[str, Any]
    template: Template | None


class _JobParts(Struct):
    """What readers of a run need of `job`."""

    model: str = ""
    images: str = ""
    endpoint_said: bool = False
    reading: Reading = Reading()
    embeddings: Embeddings = Embeddings()
    prices: dict[str, Any] | None = None


def check_parts(info: RunInfo) -> None:
    """Raise ValueError if a part of `run.json` does not have the form that readers expect."""
    msgspec.convert(info.asked, _AskedParts)
    msgspec.convert(info.job, _JobParts)
    for session in info.sessions:
        for moment in (session.began_at, session.ended_at, *(each.at for each in session.steered)):
            if moment:
                datetime.fromisoformat(moment)
