"""What the name of a model says: family, version, thinking, and tokens beside its text.

`Settings.models` decides whether an account may use a model.
"""

from typing import Any

_CHAT_BEHIND_ENDPOINT = "doubao-seed-1-6-251015"
_VECTORS_BEHIND_ENDPOINT = "doubao-embedding-large-text-250515"
_VISION_BEHIND_ENDPOINT = "doubao-embedding-vision-250615"

# Tokens of a request with almost no text, as measured by others on one day in 2026.
_OVERHEAD = (
    ("doubao-seed-1-6", 90),
    ("doubao-seed-1-8", 57),
    ("doubao-seed-2-0-pro", 58),
    ("doubao-seed-2-0-code", 40),
    ("doubao-seed-2-0", 43),
    ("doubao-seed", 55),
)
_PLAIN_OVERHEAD = 14


def model_exists(model: str, known: tuple[str, ...]) -> bool:
    return model in known if known else not model.startswith("unknown-")


def chat_model(asked: str) -> str:
    """Return the model that an answer names; an endpoint id is resolved."""
    return _CHAT_BEHIND_ENDPOINT if asked.startswith("ep-") else asked


def vector_model(asked: str) -> str:
    return _VECTORS_BEHIND_ENDPOINT if asked.startswith("ep-") else asked


def vision_model(asked: str) -> str:
    return _VISION_BEHIND_ENDPOINT if asked.startswith("ep-") else asked


def model_family(model: str) -> str:
    """Return the name without its version, since all versions share limits."""
    return model[:-7] if model[-7:-6] == "-" and model[-6:].isdecimal() else model


def overhead_tokens(model: str) -> int:
    """Return the tokens of a request beside its text."""
    return next((count for prefix, count in _OVERHEAD if model.startswith(prefix)), _PLAIN_OVERHEAD)


def thinking_effort(model: str, body: dict[str, Any]) -> str:
    """Return how hard a model thinks about a request; "none" when it does not.

    Seed models think unless told not to; other models only when told to.
    """
    asked = body.get("reasoning_effort")
    wanted = body.get("thinking", {}).get("type")
    if wanted == "disabled" or asked in {"minimal", "none"}:
        return "none"
    if wanted is None and asked is None and not _thinks_by_itself(model):
        return "none"
    return asked or "medium"


def _thinks_by_itself(model: str) -> bool:
    if model.startswith(("doubao-seed-translation", "doubao-seed-character")):
        return False
    return model.startswith("doubao-seed") or "thinking" in model or "deepseek-r1" in model
