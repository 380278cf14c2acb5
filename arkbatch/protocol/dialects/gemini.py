"""Google Gemini."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="gemini",
    title="Google Gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta/openai",
    hosts=("generativelanguage.googleapis.com",),
    key="GEMINI_API_KEY",
    usage="thoughts beside the output, often in the total alone",
    limits="retryDelay in the body; errors in a list",
    batch="yes",
    source="Gemini's OpenAI page; any-llm#1290; CLIProxyAPI#5733 (2026-09)",
)
