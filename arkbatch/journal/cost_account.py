"""The protocol by which a journal adds up costs without knowing prices."""

from typing import Any, Protocol, Self

from arkbatch.core.outcomes import Outcome
from arkbatch.journal.ledger import Ledger, Tally
from arkbatch.journal.record_format import Entry


class CostAccount(Protocol):
    """Adds up what the records of a run cost; `pricing.run_cost.Bill` is one.

    All methods are called in the order of the records. `prices` names the price book that is used.
    """

    def decode(self, line: bytes) -> Entry:
        """Read one line of a journal file with what its cost depends on. msgspec.DecodeError: it is not a record."""

    def fold(self, entry: Any, ledger: Ledger) -> None:
        """Count a line that was read by `decode`; the ledger stands before it."""

    def record(self, outcome: Outcome, at: float) -> None:
        """Count a fresh outcome, recorded at this unix time."""

    def to_bytes(self, prices: str) -> bytes:
        """Return the costs so far, for `restore`."""

    def restore(self, data: bytes, prices: str | None = None) -> bool:
        """Begin from saved costs. False: there are none, or they were added up at other prices."""

    def new_account(self) -> Self:
        """Return an empty account at the same prices."""

    def absorb(self, other: Self) -> None:
        """Add what another account at the same prices has added up."""

    def usage_of(self, tally: Tally) -> dict[str, Any]:
        """Return the fields of `usage.json` for one endpoint, model and service tier."""

    def usage_of_all(self) -> dict[str, Any]:
        """Return the fields of `usage.json` for the run."""
