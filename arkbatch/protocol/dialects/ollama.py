"""Ollama."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="ollama",
    title="Ollama",
    base_url="http://localhost:11434/v1",
    usage="no details",
    limits="503 when the queue is full; overlong prompts are cut without a word",
    source="ollama docs and server/routes.go (2026-08)",
)
