"""LM Studio."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="lmstudio",
    title="LM Studio",
    base_url="http://localhost:1234/v1",
    limits="a wrong path gets 200 with an error",
    source="lmstudio-bug-tracker#237, #618",
)
