"""Decides which rows travel together within the limits of the provider.

Rows are taken in the order of the input, and a file is closed when the next row would pass a limit. Only rows that may
be sent now are cut, so that memory and disk follow the parcels on their way and not the length of the input.
"""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.batch_jobs.parcel_records import TOO_MANY_ROWS
from arkbatch.batch_jobs.provider_forms import MARGIN, MOST_ROWS, Form
from arkbatch.core.job_sections import Files
from arkbatch.core.row import Row

UNLIMITED = 1 << 62


class Caps(Struct, frozen=True):
    """The most that one file may hold.

    tokens: estimated tokens of input; inputs: texts to embed
    joined_bytes: the most of several rows together, where the provider has refused more; a row alone may have more
    """

    rows: int
    bytes: int
    tokens: int
    inputs: int
    line_bytes: int
    joined_bytes: int = UNLIMITED


def caps_of(form: Form, files: Files) -> Caps:
    """The limits of the form, lowered by what the job says; a margin stays free of those that are counted in bytes."""
    return Caps(
        rows=min(form.rows, files.rows or MOST_ROWS),
        bytes=int(min(form.bytes * MARGIN, files.bytes or UNLIMITED)),
        tokens=int(min(form.tokens or UNLIMITED, files.tokens or UNLIMITED) * MARGIN),
        inputs=form.inputs or UNLIMITED,
        line_bytes=form.line_bytes or UNLIMITED,
    )


def smaller_caps(caps: Caps, code: str, rows: int, size: int) -> Caps:
    """The limits of the files that follow, after one with so many rows and bytes was refused as too large."""
    if code == TOO_MANY_ROWS:
        return replace(caps, rows=min(caps.rows, max(1, rows // 2)))
    return replace(caps, joined_bytes=min(caps.joined_bytes, size // 2)) if size else caps


class Load(Struct, frozen=True):
    """What a file holds so far, or what one row adds to it."""

    rows: int = 0
    bytes: int = 0
    tokens: int = 0
    inputs: int = 0
    ceiling: Decimal = Decimal(0)

    def plus(self, other: "Load") -> "Load":
        return Load(
            self.rows + other.rows,
            self.bytes + other.bytes,
            self.tokens + other.tokens,
            self.inputs + other.inputs,
            self.ceiling + other.ceiling,
        )

    def fits_in(self, caps: Caps) -> bool:
        return (
            self.rows <= caps.rows
            and self.bytes <= min(caps.bytes, caps.joined_bytes)
            and self.tokens <= caps.tokens
            and self.inputs <= caps.inputs
        )


def load_of(row: Row, size: int, tokens: int, ceiling: Decimal) -> Load:
    """What one row adds to a file. size: of its line in bytes."""
    given = row.body.get("input") if row.endpoint.endswith("embeddings") else None
    inputs = len(given) if isinstance(given, list) else int(given is not None)
    return Load(1, size, tokens, inputs, ceiling)


def too_large(load: Load, caps: Caps) -> str | None:
    """Why a row can be in no file at all, or None."""
    if load.bytes > caps.line_bytes:
        return f"the line has {load.bytes:,} bytes, and the provider takes {caps.line_bytes:,} in a batch file"
    if load.bytes > caps.bytes:
        return f"the line has {load.bytes:,} bytes, and a batch file may hold {caps.bytes:,}"
    if load.inputs > caps.inputs:
        return f"the row has {load.inputs:,} inputs, and a batch file may hold {caps.inputs:,}"
    return None


GroupKey = tuple[str, str]
"""Endpoint and model."""
