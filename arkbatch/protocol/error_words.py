"""Reads the meaning of an error from its words, for codes that no table has.

Providers share more words than codes, and gateways hide codes and statuses of those behind them. The classes are tried
in an order in which the more telling words outrank the less telling ones: `insufficient_quota` beside "allocated quota
exceeded" is a limit of the minute, and "check your plan and billing details" proves nothing at all. A service may
quote the row's own text, so quotations are taken out first.
"""

import re
from collections.abc import Callable
from enum import StrEnum


class Meaning(StrEnum):
    """What an error means for the row and for the run."""

    RATE = "rate"  # too many calls or tokens a minute: everybody slower
    LOAD = "load"  # too many at once, or an overloaded service: fewer
    QUOTA = "quota"  # of an hour, a day or a plan: wait until it returns
    MONEY = "money"
    NO_QUOTA = "no_quota"  # an empty account or a limit of the minute: only time can tell
    ROW_TOO_DEAR = "row_too_dear"  # money is left, and not enough for this row
    KEY = "key"
    PERMISSION = "permission"
    ADDRESS = "address"
    MODEL = "model"
    TOO_LONG = "too_long"
    BLOCKED = "blocked"
    PARAMETER = "parameter"
    TEMPORARY = "temporary"  # the same request may do better


def _any_of(*alternatives: str) -> re.Pattern[str]:
    """Return a pattern of whole words; Chinese has no spaces and is found anywhere."""
    latin = [each for each in alternatives if each.isascii()]
    others = [each for each in alternatives if not each.isascii()]
    parts = ([rf"(?<![a-z0-9])(?:{'|'.join(latin)})(?![a-z0-9])"] if latin else []) + others
    return re.compile("|".join(parts))


_ROW_TOO_DEAR = _any_of("can only afford", "weight exceeds budget", "pre consume token quota failed")
_PARAMETER = _any_of(
    r"(?:unknown|unsupported|unrecognized|unexpected) (?:request )?(?:parameters?|arguments?|fields?|keyword)",
    r"(?:argument|parameter) not supported",
    "extra inputs are not permitted",
    "invalid service tier",
)
_ACCOUNT = _any_of("account", "organization", "api key", "subscription")
_BLOCKED = _any_of(
    "content management policy",
    "content ?filter(?:ed|ing)?",
    "flagged",
    "moderation",
    "moderated",
    "safety(?! (?:identifier|settings?))",
    "(?<!case )sensitive(?: words?)?(?: detected)?",
    "(?:new|input|output) sensitive",
    "inappropriate content",
    "data inspection(?: failed)?",
    "content exists risk",
    "high risk",
    "usage guidelines",
    "usage policy",
    "policy violation",
    "prohibited",
    "unsafe",
    "request blocked",
    "content blocked",
    "prompt blocked",
    "censorship(?: blocked)?",
    "invalid prompt",
    "cyber policy",
    "responsibleaipolicyviolation",
    "敏感",
    "不安全",
    "违规",
    "涉敏",
    "审核",
)
_TOO_LONG = _any_of(
    "context length(?: exceeded)?",
    "context window",
    "maximum context",
    "max message tokens",
    "too many tokens",
    r"exceed(?:s|ed)?\b[^.]{0,60}\b(?:context|model token limit|maximum number of tokens|maximum allowed input length)",
    "exceed context size(?: error)?",
    "model token limit",
    r"exceed(?:s|ed)?\b[^.]{0,60}\bmaximum allowed length",
    r"tokens \+ (?:max new tokens )?must be",
    "maximum supported sequence length",
    "available context size",
    r"input token count\b[^.]{0,60}",
    "range of input length",
    "prompt (?:is )?too long",
    r"prompt contains \d+ tokens",
    "too large for model",
    "maximum prompt length",
    "reduce the length",
    "longer than the model",
    "input (?:is |token length |length )?too long",
    "length too long",
    "tokens too long",
    "characters too long",
    "max seq len",
    "must have less than",
    "n ctx",
    "cannot truncate prompt",
    "trying to keep the first",
    "greater than the context length",
    "string (?:above max length|too long)",
    "request too large",
    "max tokens must be at least 1",
    "超长",
    "过长",
    "超过模型最大",
)
_TOO_LARGE = _any_of("(?:request )?too large")
_QUOTA = _any_of(
    "per ?day",
    "perday",
    r"free models per day",
    "daily(?: limit)?",
    "rpd",
    "tpd",
    r"5 hour",
    "weekly",
    "monthly",
    "billing cycle",
    "resets? at",
    "今日",
    "每日",
    "每周",
    "每月",
    r"usage limits?",
    "call volume quota",
    "使用上限",
    "重置",
)
_MONEY = _any_of(
    "insufficient balance",
    "insufficient credits?",
    "insufficient funds",
    "balance is insufficient",
    "requires paid balance",
    "requires more credits",
    "used all available credits",
    "(?:monthly )?spend(?:ing)? limit(?: exceeded)?",
    "credit balance(?: exhausted)?",
    "credits are depleted",
    "prepayment",
    "payment required",
    "arrear(?:s|age)?",
    "overdue",
    "good standing",
    "exceeded current quota error",
    "suspended due to",
    "recharge",
    "top up",
    "budget (?:has been )?exceeded",
    "exceededbudget",
    "free quota has been exhausted",
    "insufficient user quota",
    r"not enough (?:balance|credits?|funds)",
    r"(?:balance|credits?|quota) is not enough",
    r"(?:doesn.t|don.t|does not|do not) have (?:any |enough |sufficient )?credits?",
    "total request limit reached",
    "billing (?:hard limit reached|not active|error)",
    "billing insufficient balance",
    "余额不足",
    "余额已用完",
    "欠费",
    "充值",
    "额度不足",
    "已用尽",
    "已耗尽",
    "无可用资源包",
)
_RATE = _any_of(
    "rate limit(?:ed|s)?(?: exceeded| error| reached error)?",
    "too many requests",
    "requests? per (?:minute|second)",
    "tokens? per (?:minute|second)",
    "per minute",
    "rpm",
    "tpm",
    "qps",
    "allocated quota exceeded",
    "throttling(?:exception)?",
    "too frequent(?:ly)?",
    "frequency(?! penalty)",
    "increased too quickly",
    "频率过高",
    "频率超限",
    "限流",
    "流控",
    "请求过于频繁",
    "速率限制",
    "流量限制",
)
_KEY = _any_of(
    r"(?:invalid|incorrect|expired|wrong) (?:x )?api ?key",
    "api key (?:is )?(?:not valid|invalid|expired)",
    "api key invalid",
    "invalid authentication(?: error)?",
    "authentication (?:fails|failed|error)",
    "incorrect api key(?: error)?",
    "unauthorized",
    "invalid subscription key",
    "login fail(?:ed)?",
    "(?:access )?token (?:is )?(?:invalid|expired)",
    "expired (?:key|token)",
    "(?:your )?key has expired",
    "invalid iam token",
    r"security token\b[^.]{0,40}\b(?:expired|invalid)",
    r"authfailure(?:\.\w+)?",
    r"(?:account|organization)\b[^.]{0,40}\b(?:deactivated|terminated|disabled|restricted|locked)",
    "account deactivated",
    "鉴权失败",
    "身份验证失败",
    "无效的令牌",
    "已过期",
    "未授权",
)
_PERMISSION = _any_of(
    r"(?:user )?location is not supported",
    "unsupported country region territory",
    "未开通",
    "授权错误",
)
_LOAD = _any_of(
    "concurrency",
    "concurrent(?:ly)?",
    "overloaded",
    "capacity",
    "busy",
    "high demand",
    "queue",
    "max parallel",
    "saturated",
    "并发数过高",
    "访问量过大",
    "负载已饱和",
    "系统繁忙",
    "服务器繁忙",
)
_MODEL = _any_of(
    r"model\b[^.]{0,80}\b(?:(?:does )?not exist|not (?:found|available|supported)|decommissioned|is not a valid)",
    "given endpoint does not exist",
    "no endpoints found",
    "not a valid model(?: id)?",
    "(?:invalid|unknown) model",
    "model ?not ?(?:found|exist)",
    "deployment ?not ?found",
    "no available channel",
    "not found the model",
    "unable to access model",
    "no permission to use the model",
    "(?:key|team|user|org) model access denied",
    "models? [^ ]+ is not found",
    "模型不存在",
    "无可用渠道",
    "无权使用模型",
    "无权使用",
    "已下线",
)
_ADDRESS = _any_of("unexpected endpoint", "unknown endpoint", "no such path", "invalid url")
_TEMPORARY = _any_of(
    "internal (?:server )?error",
    "internalservererror",
    "server error",
    "time ?out",
    "timed out",
    "upstream error",
    "temporarily unavailable",
    "network error",
    "try again later",
    "do request failed",
    "empty response",
    "no db connection",
    r"model (?:is |was |has been )?unloaded",
    "model has crashed",
    "degraded function",
    "abort(?:ed)? before",
    "loading model",
    "tool use failed",
    "json validate failed",
    "内部错误",
    "网络错误",
    "请求超时",
    "服务器故障",
)
_BARE_QUOTA = _any_of("insufficient quota", "exceeded your current quota")

_STATUSES_OF_LOAD = (429, 503, 529)
_CLASS_NAME = re.compile(r"^litellm\.\w+error:\s*")
_QUOTATIONS = re.compile(r"(?<!\w)'[^']{1,300}'(?!\w)|\"[^\"]{1,300}\"|`[^`]{1,300}`|“[^”]{1,300}”|「[^」]{1,300}」")


def meaning_of(text: str, status: int) -> Meaning | None:
    """Return what the words of an error mean, None when they tell nothing.

    text: the service's message, code, type and further words
    status: the reply's own, or the one that the error names
    """
    said = _normal_text(text)
    for meaning, is_meant in _IN_ORDER:
        if is_meant(said, status):
            return meaning
    return None


def _normal_text(text: str) -> str:
    """Return a text in small letters, without quotations, and `_` and `-` as spaces.

    A text that is a structure, as some gateways quote the service's whole reply, has its words in quotes.
    """
    lower = _CLASS_NAME.sub("", text.lower())
    bare = lower if lower.lstrip()[:1] in ("{", "[") else _QUOTATIONS.sub(" ", lower)
    return " ".join((bare if bare.strip() else lower).replace("_", " ").replace("-", " ").split())


def _is_blocked(said: str, status: int) -> bool:
    return bool(_BLOCKED.search(said)) and not (_ACCOUNT.search(said) and status in (401, 403))


def _is_too_long(said: str, status: int) -> bool:
    if status == 429:  # of a minute or a day, and not of one prompt: Bedrock's "Too many tokens, please wait"
        said = said.replace("too many tokens", "")
    return bool(_TOO_LONG.search(said)) and (not _RATE.search(said) or bool(_TOO_LARGE.search(said)))


def _is_quota(said: str, _: int) -> bool:
    return bool(_QUOTA.search(said)) and not _MONEY.search(said)


def _is_temporary(said: str, status: int) -> bool:
    """Whether the same request may do better. Where the status speaks of load, it tells more than these words."""
    return status not in _STATUSES_OF_LOAD and bool(_TEMPORARY.search(said))


def _finds(pattern: re.Pattern[str]) -> Callable[[str, int], bool]:
    return lambda said, _: pattern.search(said) is not None


_IN_ORDER: tuple[tuple[Meaning, Callable[[str, int], bool]], ...] = (
    (Meaning.PARAMETER, _finds(_PARAMETER)),
    (Meaning.BLOCKED, _is_blocked),
    (Meaning.TOO_LONG, _is_too_long),
    (Meaning.QUOTA, _is_quota),
    (Meaning.ROW_TOO_DEAR, _finds(_ROW_TOO_DEAR)),
    (Meaning.RATE, _finds(_RATE)),
    (Meaning.MONEY, _finds(_MONEY)),
    (Meaning.KEY, _finds(_KEY)),
    (Meaning.NO_QUOTA, _finds(_BARE_QUOTA)),
    (Meaning.PERMISSION, _finds(_PERMISSION)),
    (Meaning.LOAD, _finds(_LOAD)),
    (Meaning.MODEL, _finds(_MODEL)),
    (Meaning.ADDRESS, _finds(_ADDRESS)),
    (Meaning.TEMPORARY, _is_temporary),
)
