"""Mistral."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="mistral",
    title="Mistral",
    base_url="https://api.mistral.ai/v1",
    hosts=("api.mistral.ai",),
    key="MISTRAL_API_KEY",
    usage="content as a list of parts while a model thinks",
    limits="per second; also a cap a month",
    batch="files of 512 MB",
    source="Mistral's error glossary; litellm#16272; cline#9085",
)
