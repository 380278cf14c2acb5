"""Azure OpenAI (v1)."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="azure",
    title="Azure OpenAI (v1)",
    base_url="",
    hosts=(".openai.azure.com",),
    key="AZURE_OPENAI_API_KEY",
    usage="as OpenAI",
    limits="retry-after-ms; a day is named where a minute is meant",
    batch="files with batch deployments of their own",
    source="Microsoft's api-version-lifecycle; openai-python#331; azure-sdk-for-java#42696",
)
