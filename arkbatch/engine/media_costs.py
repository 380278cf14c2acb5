"""The part of a budget that is held for a row with media.

Nothing in a request foretells how many tokens these take.

An image takes at most 5,120 tokens at Ark. At other servers its tokens are not known before, either.

With a budget the first such row of a model goes alone. Later ones are held at the dearest seen so far, with a margin,
so that a budget is passed at most by as much as one of them outdoes all others.
"""

from decimal import ROUND_UP, Decimal

from msgspec import Struct

from arkbatch.core.row import Row
from arkbatch.protocol.media import has_unforeseen_parts

MARGIN = Decimal("1.25")

MediaKey = tuple[str, str]
"""Endpoint and model."""


class _Seen(Struct):
    cost: Decimal
    tokens: int


class MediaCosts:
    """One session's. `images_too`: the most tokens of an image are not known at this server."""

    def __init__(self, *, images_too: bool = False) -> None:
        self._images_too = images_too
        self._seen: dict[MediaKey, _Seen] = {}
        self._first: set[MediaKey] = set()  # of which the first row is under way

    def key_of(self, row: Row, parts: int) -> MediaKey | None:
        """Return the key of a row whose tokens nothing foretells, None for another. `parts`: those that are no text."""
        if parts and has_unforeseen_parts(row.body, images_too=self._images_too):
            return row.endpoint, row.asked_model
        return None

    def must_wait(self, key: MediaKey | None) -> bool:
        """Return whether the first row of this kind is under way."""
        return key is not None and key in self._first

    def raised_ceiling(self, key: MediaKey, cost: Decimal, tokens: int) -> tuple[Decimal, int]:
        """Return what a call may take at most, by what others have taken."""
        seen = self._seen.get(key)
        if seen is None:
            return cost, tokens
        return max(cost, seen.cost * MARGIN), max(tokens, int((seen.tokens * MARGIN).to_integral_value(ROUND_UP)))

    def note_start(self, key: MediaKey | None) -> None:
        """Note that a call starts."""
        if key is not None and key not in self._seen:
            self._first.add(key)

    def note_end(self, key: MediaKey | None, cost: Decimal, tokens: int) -> None:
        """Note that a call ended. `tokens`: 0 where nothing was counted."""
        if key is None:
            return
        self._first.discard(key)
        if tokens:
            seen = self._seen.setdefault(key, _Seen(cost, tokens))
            seen.cost, seen.tokens = max(seen.cost, cost), max(seen.tokens, tokens)
