"""A change of limits while a session worked, as it is kept in `run.json`."""

from msgspec import Struct


class Steered(Struct, frozen=True, omit_defaults=True):
    """An order that was obeyed, as the session keeps it. `at`: ISO 8601; `limits`: those that it set.

    did: what it changed, in words
    """

    at: str
    do: str
    did: str
    by: str = "ctl"
    reason: str = ""
    limits: dict[str, int | float | None] = {}
