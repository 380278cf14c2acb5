"""What of a job is Ark's own, and what is said of it when the job goes to another server.

What would be wrong there is refused: a batch lane, encryption or projects exist at Ark alone, and the other server
would fail each row or, worse, pass over what was asked. What merely has no effect is said once. What nobody has to ask
for follows the address by itself and needs no word: prices and published limits, ranges of parameters, the slow ramp.
"""

from arkbatch.core.job import Job, Sections
from arkbatch.protocol.endpoints import multimodal, tokenization


def why_ark_only(asked: Sections, endpoint: str, base_url: str) -> str | None:
    """Why this cannot be asked of a server that is not Ark; None when it can."""
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
    """What has no effect at this server, or another one than at Ark."""
    if job.at_ark or not job.request_id_prefix:
        return []
    said = f"request_id_prefix goes into X-Client-Request-Id, a header of Ark's, which {job.base_url} may not keep"
    return [f"{said}; the ids that it gives itself are in run.log"]
