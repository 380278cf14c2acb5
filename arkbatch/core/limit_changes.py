"""A change of limits by a user during a session, as `run.json` keeps it."""

from msgspec import Struct


class LimitChange(Struct, frozen=True, omit_defaults=True):
    """A command that was carried out, as the session records it.

    at: ISO 8601; did: what it changed, in words; limits: those that it set
    """

    at: str
    do: str
    did: str
    by: str = "ctl"
    reason: str = ""
    limits: dict[str, int | float | None] = {}
