"""Compares the ways to send a job by price and waiting time.

A price is exact where the price book has the column. Where it has none, the price is left out with the reason, and with
the share of the online price that the provider names for batch files: no cost is counted by such a share.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from arkbatch.batch_jobs.provider_forms import ARK_JOBS, Form, all_forms, form_for
from arkbatch.core.job import Job
from arkbatch.estimate.forecast import Estimate
from arkbatch.pricing.amounts import Unknown
from arkbatch.pricing.price_book import provider_of
from arkbatch.pricing.run_cost import BATCH, ONLINE, Bill
from arkbatch.pricing.tariff import Tariff
from arkbatch.protocol.endpoints.batch_lane import batch_name, online_name

FLEX, FILES, JOB = "flex", "files", "job"


class Way(Struct, frozen=True):
    """One way to send the rows.

    name: online, flex, batch, files or job; flag: what to give for it
    waits: how long answers may take, in words
    estimate: None without a price, and then `no_price` says why
    """

    name: str
    flag: str
    waits: str
    estimate: Estimate | None
    no_price: str = ""


def ways_to_send(
    job: Job,
    endpoint: str,
    model: str,
    bill: Bill,
    estimate: Callable[[str, Tariff | Unknown], Estimate | None],
) -> list[Way]:
    """Every way that the provider of the job has.

    estimate: the rows as if they were sent to an endpoint, at a tariff
    """
    online, batch = online_name(endpoint), batch_name(online_name(endpoint))
    by_name = {ONLINE: (online, ""), FLEX: (online, FLEX)}
    ways = []
    for name, flag, waits in _offered(job, online):
        priced_as, tier = by_name.get(name, (batch, ""))
        tariff = bill.tariff_of(model, BATCH if priced_as == batch else ONLINE, tier)
        reason = tariff.reason + _share_text(job, name) if isinstance(tariff, Unknown) else ""
        ways.append(Way(name, flag, waits, estimate(priced_as, tariff), reason))
    return ways


def _offered(job: Job, endpoint: str) -> Iterator[tuple[str, str, str]]:
    """Name, flag and waiting time of each way."""
    yield ONLINE, "--lane online", "as its limits allow"
    is_ark = job.at_ark or provider_of(job.base_url) in {"ark", "byteplus"}
    if is_ark:
        yield FLEX, "--set service_tier=flex", "as online; refused while the service is busy"
        yield BATCH, "--lane batch", "up to 72 h for a call, held open; needs an ep-bi-... endpoint"
        form = all_forms()[ARK_JOBS]
        if endpoint in form.endpoints:
            yield JOB, "--lane job", f"within {_window_text(job, form)}; needs a bucket of TOS"
        return
    form = form_for(job.base_url, job.files.form)
    if form.name == "openai":
        yield FLEX, "--set service_tier=flex", "slower than online; refused while the service is busy"
    if form.service and form.name != "generic":
        yield FILES, "--lane files", f"within {_window_text(job, form)}"


def _share_text(job: Job, name: str) -> str:
    """What the provider says of the price of its batch files; "" for other ways."""
    if name != FILES:
        return ""
    form = form_for(job.base_url, job.files.form)
    return f"; {form.name} asks {form.price:.0%} of its online price in batch files" if form.price else ""


def _window_text(job: Job, form: Form) -> str:
    window = job.files.window or form.window
    number = window.rstrip("hd")
    if not number.isdecimal():
        return window
    return f"{number} h" if window.endswith("h") else "1 day" if number == "1" else f"{number} days"
