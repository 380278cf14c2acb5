"""One input record: a row that can be sent, or one that cannot.

These are `msgspec.Struct`s, as in `core.calls`. Sizes are characters.
"""

from datetime import datetime
from typing import Any, ClassVar

from msgspec import Struct

Body = dict[str, Any]


class Row(Struct, frozen=True, gc=False):
    """One input record that can be sent.

    number: the line's number in the file, from 1; for people
    offset: where the line begins in the uncompressed input; the same however a file is cut into shards
    digest: 16 hex digits over the line's bytes, by which an edited input is recognised
    body: the whole request, defaults filled in
    before: what earlier sessions recorded of this row, oldest first, when it is tried again
    request_id: the row's own X-Client-Request-Id, "" for one that arkbatch makes
    """

    number: int
    offset: int
    digest: str
    custom_id: str
    endpoint: str
    body: Body
    before: "tuple[Before, ...]" = ()
    request_id: str = ""

    @property
    def members(self) -> "tuple[Row, ...]":
        """The rows that this one stands for: itself, or the rows of a pack."""
        return (self,)

    @property
    def asked_model(self) -> str:
        """The model or endpoint id that the request names."""
        model: str = self.body.get("model", "")
        return model


class BadRow(Struct, frozen=True, gc=False):
    """One input record that cannot be sent, and why.

    text: the beginning of the line, for the person who fixes it
    """

    number: int
    offset: int
    digest: str
    custom_id: str
    reason: str
    text: str
    before: "tuple[Before, ...]" = ()
    asked_model: ClassVar[str] = ""

    @property
    def members(self) -> "tuple[BadRow, ...]":
        """The row itself; a row that cannot be sent is never in a pack."""
        return (self,)


SENT_AGAIN = "sent_again"  # the code of a failure that a retry gave back to the run, with the request to send


class Before(Struct, frozen=True, gc=False, omit_defaults=True):
    """What one earlier record of a row had spent; its replacement repeats it.

    So the journal has the same sum whether the replaced line is still in the file or not.
    calls: the usage of each billed call, when there were several; at: when the record was written
    served: model and tier of each of `calls`, when one differs from those of the record
    interrupted: the row was not given up then
    """

    kind: str
    code: str
    endpoint: str
    model: str
    service_tier: str
    attempts: int
    usage: dict[str, int]
    calls: tuple[dict[str, int], ...] = ()
    at: datetime | None = None
    asked_model: str = ""
    served: tuple[tuple[str | None, str | None], ...] = ()
    interrupted: bool = False


class Size(Struct, frozen=True, gc=False):
    """How large a request is, before its tokens are counted.

    narrow, wide: characters of one or two UTF-8 bytes, and of three or four (such as Chinese)
    parts: images and other parts that are not text
    ceiling: the most output tokens that the request allows, None when it sets no limit
    """

    narrow: int
    wide: int
    parts: int = 0
    ceiling: int | None = None
