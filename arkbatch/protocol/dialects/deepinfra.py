"""DeepInfra."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="deepinfra",
    title="DeepInfra",
    base_url="https://api.deepinfra.com/v1/openai",
    hosts=("api.deepinfra.com",),
    key="DEEPINFRA_API_KEY",
    usage="reasoning of Gemini and Gemma models beside the output and outside of the total",
    limits="429 means that the model is busy",
    source="vercel/ai deepinfra-chat-language-model.ts",
)
