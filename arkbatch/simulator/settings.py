"""The settings of a simulator, checked when it is made."""

from collections.abc import Mapping

from msgspec import Struct, field

from arkbatch.core.errors import UsageError
from arkbatch.simulator.faults import BATCH_MENU, MENU

ACCESS_KEY = ("AKLTsimulated", "simulated-secret")  # the one that is known unless the settings name others

_AT_LEAST_ONE = (
    *("rpm", "tpm", "rps", "max_inflight", "key_seconds", "key_rpm"),
    *("batch_slots", "batch_retry_after", "chunks", "blobs", "enqueued_tokens"),
)
CERTIFICATES = ("good", "expired", "wrong_curve", "refused")


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set; without settings, every call is answered at once.

    seed: two simulators with the same seed give the same answers and the same faults
    keys: accepted API keys; none means that any key which is not empty is accepted
    access_keys: secret by access key id; requests to the control plane are signed with one of them
    session_tokens: token by access key id, for temporary access keys
    powerless: access key ids that are known but lack the right to get a temporary key
    key_seconds: longest life of a temporary key, whatever was asked for
    key_rpm: control plane calls allowed in any 60 seconds
    models: known model and endpoint ids; none means all but those that begin with `unknown-`
    rpm, tpm: requests and tokens allowed in any 60 seconds to one model (all its versions share them)
    rps: requests allowed in any second; beyond it the 429 always has `Retry-After`
    retry_after: whether the other 429s have it too; Ark documents none for online calls
    count_refused: whether a call that a limit refused counts towards that limit
    max_inflight: calls to one model at a time
    lanes: whether batch endpoints (`ep-bi-...`) exist on the batch lane only, and nothing else there
    batch_hold: mean seconds that a call of the batch lane takes, in addition to the latency
    batch_slots: batch calls worked on at a time; the others wait with an open connection
    batch_queue: batch calls that may wait; one more is 429 ServerOverloaded
    batch_retry_after: whole seconds in the `Retry-After` of this 429; None sends no header
    latency: mean seconds to an answer; half of it is fixed, the other half is exponentially distributed
    faults: rate (0 to 1) by name of `faults.MENU`; together at most 1
    shuffle: return embeddings in another order than the inputs
    chunks: number of equal pieces of a streamed text; None cuts short, uneven pieces
    certificate: the kind of certificate for sealed calls, one of CERTIFICATES; "refused" is an error in its place
    blobs: sealed texts that an answer consists of, one directly after the other
    gzip: compress answers for clients that accept it
    batch_seconds: mean time that a batch of files takes
    batch_store: the directory in which files and batches are kept; without, they end with the simulator
    batch_faults: rate (0 to 1) by name of `faults.BATCH_MENU`; each is drawn on its own
    upload_bytes: the most that a file may have; a larger one is refused by a proxy (413)
    enqueued_tokens: tokens of one model that may wait in batches; a batch beyond it fails when it is validated
    keepalive: seconds after which an idle connection is closed
    bill: a file to which each answer adds a line with its request id, its fault and its tokens
    """

    seed: int = 0
    keys: tuple[str, ...] = ()
    access_keys: Mapping[str, str] = field(default_factory=lambda: dict([ACCESS_KEY]))
    session_tokens: Mapping[str, str] = field(default_factory=dict)
    powerless: tuple[str, ...] = ()
    key_seconds: int | None = None
    key_rpm: int | None = None
    models: tuple[str, ...] = ()
    rpm: int | None = None
    tpm: int | None = None
    rps: int | None = None
    retry_after: bool = False
    count_refused: bool = False
    max_inflight: int | None = None
    lanes: bool = True
    batch_hold: float = 0.0
    batch_slots: int | None = None
    batch_queue: int | None = None
    batch_retry_after: int | None = None
    latency: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    shuffle: bool = False
    chunks: int | None = None
    certificate: str = "good"
    blobs: int = 1
    gzip: bool = False
    batch_seconds: float = 0.0
    batch_store: str = ""
    batch_faults: Mapping[str, float] = field(default_factory=dict)
    enqueued_tokens: int | None = None
    upload_bytes: int | None = None
    keepalive: float = 75.0
    bill: str = ""


def check_settings(settings: Settings) -> None:
    """Raise UsageError for the first setting that makes no sense."""
    for name in _AT_LEAST_ONE:
        limit = getattr(settings, name)
        if limit is not None and limit < 1:
            raise UsageError(f"{name} is {limit}; it must be at least 1, or be left out")
    for name in ("latency", "batch_hold", "batch_queue", "batch_seconds"):
        if (getattr(settings, name) or 0) < 0:
            raise UsageError(f"{name} is {getattr(settings, name)}; it cannot be negative")
    if settings.certificate not in CERTIFICATES:
        raise UsageError(f"there is no certificate {settings.certificate!r}, only {', '.join(CERTIFICATES)}")
    _check_rates(settings.faults, MENU, "fault")
    _check_rates(settings.batch_faults, BATCH_MENU, "fault of batches")
    if sum(settings.faults.values()) > 1 + 1e-9:
        raise UsageError("the rates of all faults together exceed 1")


def _check_rates(rates: Mapping[str, float], menu: Mapping[str, object], what: str) -> None:
    for name, rate in rates.items():
        if name not in menu:
            raise UsageError(f"there is no {what} named {name!r}; the menu is {', '.join(menu)}")
        if not 0 <= rate <= 1:
            raise UsageError(f"the rate of {what} {name} is {rate}; it must lie between 0 and 1")
