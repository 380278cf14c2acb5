"""How a provider deviates from OpenAI's batch files: paths, limits, spellings, states."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from arkbatch.core.errors import UsageError

TABLE = "batch-forms.toml"
ARK_JOBS = "ark-job"
MARGIN = 0.98  # of a limit that is used, since providers count a little differently
MOST_ROWS = 10_000  # of a parcel unless the job says more: smaller ones fail, expire and come back apart

WAITING, DONE, EXPIRED, CANCELLED, FAILED = "waiting", "completed", "expired", "cancelled", "failed"
# Words of all providers, in small letters and with `_` between them. A word that is not here is taken for one of a
# batch that is being worked on, unless the batch says when it was completed.
_STATES = {
    **dict.fromkeys(("validating", "queued", "pending", "in_progress", "running", "finalizing", "cancelling"), WAITING),
    **dict.fromkeys(("completed", "complete", "success", "succeeded", "succeed", "finished", "done", "ended"), DONE),
    **dict.fromkeys(("partially_completed", "partially_succeeded", "completed_with_errors"), DONE),
    **dict.fromkeys(("expired", "timeout_exceeded", "timeout", "timed_out"), EXPIRED),
    **dict.fromkeys(("cancelled", "canceled", "terminated"), CANCELLED),
    **dict.fromkeys(("failed", "failure", "error", "invalid", "validation_failed", "rejected"), FAILED),
}


class Form(Struct, frozen=True, forbid_unknown_fields=True):
    """One provider's form; the fields are those of the table, which explains them."""

    name: str
    hosts: tuple[str, ...]
    rows: int
    bytes: int
    source: str
    inputs: int = 0
    tokens: int = 0
    line_bytes: int = 0
    window: str = "24h"
    windows: tuple[str, ...] = ("24h",)
    url: str = "/v1"
    purpose: str = "batch"
    batches: str = "/batches"
    envelope: str = ""
    metadata: bool = True
    expires: bool = False
    bare_lines: bool = False
    no_model: bool = False
    numbered_pages: bool = False
    data_urls: bool = True
    endpoints: tuple[str, ...] = ()
    create_keys: dict[str, str] = {}
    create_extra: dict[str, Any] = {}
    output_key: str = "output_file_id"
    error_key: str = "error_file_id"
    poll_seconds: float = 30.0
    price: float = 0.5
    service: bool = True
    note: str = ""

    def state_of_word(self, word: object, *, is_completed: bool = False) -> str:
        """What a state of a batch means: one of the words above. is_completed: the batch says when it was."""
        unknown = DONE if is_completed else WAITING
        return _STATES.get(_as_written_here(word), unknown) if isinstance(word, str) else WAITING


def _as_written_here(word: str) -> str:
    """`Timed-Out` and `timed out` as `timed_out`."""
    return word.strip().lower().replace("-", "_").replace(" ", "_")


class _FormTable(Struct, frozen=True, forbid_unknown_fields=True):
    forms: tuple[Form, ...] = field(name="form")


@cache
def all_forms() -> Mapping[str, Form]:
    """Every form by its name."""
    text = files("arkbatch").joinpath("data", TABLE).read_text(encoding="utf-8")
    return {form.name: form for form in msgspec.convert(tomllib.loads(text), _FormTable).forms}


def lane_of_form(name: str) -> str:
    """The lane on which a parcel of this form travels."""
    return "job" if name == ARK_JOBS else "files"


def form_for(base_url: str, name: str = "") -> Form:
    """The named form, else that of the host. UsageError: there is none of this name."""
    forms = all_forms()
    if name:
        if name not in forms:
            raise UsageError(f'there is no form of batch files called "{name}"; known are {", ".join(forms)}')
        return forms[name]
    host = urlsplit(base_url).hostname or ""
    found = (form for form in forms.values() if any(host == end or host.endswith("." + end) for end in form.hosts))
    return next(found, forms["generic"])
