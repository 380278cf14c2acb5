"""Kinds of failure as a person names them, on a command line or to a running session."""

from difflib import get_close_matches

from arkbatch.core.errors import UsageError
from arkbatch.core.types import Kind


def chosen_kinds(names: str, asked_by: str = "--kind") -> frozenset[str]:
    """`timeout,overloaded` as a set. UsageError: there is no such kind; it names what asked for it."""
    known = [kind.value for kind in Kind]
    chosen = frozenset(name.strip() for name in names.split(",") if name.strip())
    for name in sorted(chosen - set(known)):
        near = get_close_matches(name, known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"{asked_by} {name} is not a kind of failure.{hint} Kinds are: {', '.join(known)}.")
    return chosen
