"""The prices of one run: those used, the user's, and the packaged ones.

The rows of the book that a run has used stay in its `run.json`, so that a later price change does not alter its past.
"""

from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from arkbatch.core.errors import RunDamaged
from arkbatch.core.job import SIMULATOR, Job
from arkbatch.journal.run_info import RunInfo
from arkbatch.pricing.price_book import PriceBook, provider_of
from arkbatch.pricing.price_files import prices_at
from arkbatch.pricing.pricer import Pricer
from arkbatch.pricing.run_cost import Bill

SIMULATED_PROVIDER = "ark"


def book_of_job(job: Job) -> PriceBook:
    """Return the prices for a job that has no run yet."""
    return prices_at(price_list_of(job), Path(job.prices_file) if job.prices_file else None, job.prices)


def price_list_of(job: Job) -> str:
    """Return whose list prices hold for a job; a gateway named as Ark's address has Ark's."""
    return SIMULATED_PROVIDER if job.simulated else provider_of(job.base_url, at_ark=job.at_ark)


def book_of_run(info: RunInfo, current: PriceBook | None = None) -> PriceBook:
    """Return the prices of a run, laid over the current ones."""
    return kept_prices(info).laid_over(current_book(info) if current is None else current)


def current_book(info: RunInfo, file: Path | None = None) -> PriceBook:
    """Return today's prices at the run's provider, under those of its job.

    file: the user's own, over both
    """
    base_url = str(info.asked.get("base_url", ""))
    provider = SIMULATED_PROVIDER if base_url == SIMULATOR else info.price_list or provider_of(base_url)
    table = info.job.get("prices")
    return prices_at(provider, file, table, may_be_unused=file is None)


def bill_of(info: RunInfo, book: PriceBook | None = None) -> Bill:
    """Return an empty bill for a run's records, by the run's own prices or by another book."""
    return Bill(Pricer(book_of_run(info) if book is None else book), str(info.job.get("model", "")))


def kept_prices(info: RunInfo) -> PriceBook:
    """Return the prices as `run.json` holds them."""
    if info.prices is None:
        return PriceBook()
    try:
        return PriceBook.from_builtins(info.prices)
    except msgspec.ValidationError as error:
        raise RunDamaged(f"The prices in run.json cannot be read ({error}). Restore it from a backup.") from error


def keep_used_prices(info: RunInfo, pricer: Pricer) -> bool:
    """Put the prices that were used into `info`; False when they are there already."""
    plain: dict[str, Any] = pricer.used_prices().laid_over(kept_prices(info)).to_builtins()
    if plain == info.prices:
        return False
    info.prices = plain
    return True


def name_of(book: PriceBook) -> str:
    """Return a digest of the book, which does not depend on the order of its rows."""
    rows = sorted(msgspec.json.encode(row, order="deterministic") for row in book.rows)
    return f"{crc32(b''.join([*rows, msgspec.json.encode(book.names, order='deterministic')])):08x}"
