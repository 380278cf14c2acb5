"""vLLM."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="vllm",
    title="vLLM",
    base_url="http://localhost:8000/v1",
    usage="reasoning inside, not counted apart",
    limits="none; finish reason abort means broken off",
    batch="run-batch, offline",
    source="vLLM's protocol.py; vLLM#57082 (2026-09)",
)
