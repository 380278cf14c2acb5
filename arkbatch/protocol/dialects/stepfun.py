"""StepFun."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="stepfun",
    title="StepFun",
    base_url="https://api.stepfun.com/v1",
    hosts=("api.stepfun.com",),
    key="STEPFUN_API_KEY",
    limits="451 is moderation",
    source="platform.stepfun.com (2026-07)",
)
