"""SGLang."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="sglang",
    title="SGLang",
    base_url="http://localhost:30000/v1",
    usage="reasoning_tokens at the top of usage",
    source="SGLang's usage_processor.py",
)
