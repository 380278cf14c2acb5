"""llama.cpp."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="llamacpp",
    title="llama.cpp",
    base_url="http://localhost:8080/v1",
    limits="closes after each streamed answer",
    source="llama.cpp's server-task.cpp",
)
