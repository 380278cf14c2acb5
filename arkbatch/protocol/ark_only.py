"""Settings that only Ark has, and what becomes of them at other servers.

A batch lane, encryption and projects exist at Ark alone. Another server would fail each row or, worse, ignore the
setting, so they are refused. A setting that merely has no effect is reported once. Prices, published limits, ranges of
parameters and the slow ramp follow the address, and need no report.
"""

from arkbatch.core.job import Job
from arkbatch.core.job_sections import Sections
from arkbatch.protocol.endpoints import multimodal, tokenization


def why_ark_only(asked: Sections, endpoint: str, base_url: str) -> str | None:
    """Return why this cannot be asked of a server that is not Ark; None when it can."""
    used = {
        'lane = "batch"': asked.lane == "batch",
        'lane = "job"': asked.lane == "job",
        "encrypt = true": asked.encrypt,
        f'project = "{asked.project}"': bool(asked.project),
        f'endpoint = "{endpoint}"': endpoint in {multimodal.NAME, tokenization.NAME},
    }
    for word, is_used in used.items():
        if is_used:
            return (
                f"{word} is Ark's own, and {base_url} is not Ark's address "
                "(where it takes Ark's place, set ARK_BASE_URL to it)"
            )
    return None


def remarks_on(job: Job) -> list[str]:
    """Return a sentence for each setting that has no effect at this server, or another effect than at Ark."""
    if job.at_ark or not job.request_id_prefix:
        return []
    said = f"request_id_prefix goes into X-Client-Request-Id, a header of Ark's, which {job.base_url} may not keep"
    return [f"{said}; the ids that it gives itself are in run.log"]
