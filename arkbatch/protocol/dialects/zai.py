"""Z.ai."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="zai",
    title="Z.ai",
    base_url="https://api.z.ai/api/paas/v4",
    hosts=("api.z.ai",),
    key="ZAI_API_KEY",
    errors=by_code(
        {
            Meaning.MONEY: "1113",
            Meaning.KEY: "1000 1001 1002 1003 1004",
            Meaning.PERMISSION: "1110 1111 1112 1121 1220 1309 1311 1313",
            Meaning.LOAD: "1302 1312",
            Meaning.RATE: "1303 1305",
            Meaning.QUOTA: "1304 1308 1310",
            Meaning.MODEL: "1211 1221 1222",
            Meaning.TOO_LONG: "1261",
            Meaning.BLOCKED: "1301",
            Meaning.PARAMETER: "1210 1212 1213 1214 1215",
            Meaning.TEMPORARY: "1120 1230 1234",
        }
    ),
    usage="reasoning inside; some streams count no output",
    limits="the text names the reset of a plan's window, in China's time",
    batch="files",
    source="Error codes of docs.bigmodel.cn and docs.z.ai",
)
