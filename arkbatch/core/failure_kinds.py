"""Kinds of failure as a user types them."""

from difflib import get_close_matches

from arkbatch.core.errors import UsageError
from arkbatch.core.types import Kind


def chosen_kinds(names: str, asked_by: str = "--kind") -> frozenset[str]:
    """Return a list such as `timeout,overloaded` as a set; UsageError for an unknown kind.

    asked_by: the flag or key that the error names
    """
    known = [kind.value for kind in Kind]
    chosen = frozenset(name.strip() for name in names.split(",") if name.strip())
    for name in sorted(chosen - set(known)):
        near = get_close_matches(name, known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"{asked_by} {name} is not a kind of failure.{hint} Kinds are: {', '.join(known)}.")
    return chosen
