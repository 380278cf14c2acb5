"""What each error code, type and status means for a row and the run.

Under one key the first rule counts whose `says` is found in the message: Ark's `QuotaExceeded` means three things, and
only the message tells which. `CODES` are those of Ark's error page, of the handbook of its command line, and of
Volcengine's gateway in front of it. `error_rules` finds the rule of an error.
"""

from collections.abc import Mapping

from msgspec import Struct

from arkbatch.core.calls import Confirm, Kind, Scope
from arkbatch.protocol.error_words import Meaning


class Rule(Struct, frozen=True):
    """The meaning of an error for its row and for the run.

    scope: what must give way before the next try; None: there is none
    says: a pattern that the message has to contain, in any case
    advice: what a person can do about it; not empty: the run halts, because it concerns every row
    confirm: what must happen before the run halts
    pause: seconds to wait when the server does not say how long
    """

    keys: tuple[str | int, ...]
    kind: Kind
    scope: Scope | None = None
    says: str = ""
    advice: str = ""
    pause: float | None = None
    confirm: Confirm = Confirm.NOTHING


def refused(kind: Kind, *keys: str | int, says: str = "") -> Rule:
    return Rule(keys, kind, says=says)


def again(kind: Kind, *keys: str | int, says: str = "", pause: float | None = None) -> Rule:
    return Rule(keys, kind, Scope.ROW, says, pause=pause)


def slower(kind: Kind, *keys: str | int, says: str = "", pause: float | None = None) -> Rule:
    return Rule(keys, kind, Scope.RATE, says, pause=pause)


def fewer(kind: Kind, *keys: str | int, says: str = "") -> Rule:
    return Rule(keys, kind, Scope.CONCURRENCY, says)


def halt(kind: Kind, advice: str, *keys: str | int, says: str = "", confirm: Confirm | None = None) -> Rule:
    """Return a rule that halts. A missing right may be one row's; an empty account never is."""
    if confirm is None:
        confirm = Confirm.NOTHING if kind in {Kind.BILLING, Kind.QUOTA} else Confirm.AFTER_ANSWERS
    return Rule(keys, kind, says=says, advice=advice, confirm=confirm)


TOO_LONG = r"context (length|window)|maximum context|max message tokens|too many tokens|prompt is too long"
KEY = "check the API key ({key}): it must be whole, enabled and of the base URL's region"
RECHARGE = "the account is out of money: recharge it in the billing centre of the console"
PERMIT = "give the key's account access to this model: permissions and projects in the service's console"
ACTIVATE = "activate the model in the Ark console (model activation), or name another one with --model"
MODEL = "check the model or endpoint id ({model}) and that the key may use it"
_ARK_URL = "https://ark.cn-beijing.volces.com/api/v3"
ADDRESS = f"check the base URL ({{address}}): Ark's is {_ARK_URL}, most others end in /v1"
NO_QUOTA = "the account has no quota left: recharge it, or see plan and limits on the service's website"
TOO_DEAR = "what is left of the account's money is less than this request may cost: recharge it, or lower max_tokens"
GATEWAY = "check the address and the kind of key: the gateway before Ark did not know the request's signature"
FREE = "the free quota of this model is used up: activate the paid service in the Ark console, or name another model"
PLAN = "the quota of the plan is used up: wait until it resets, or use a key without the plan"
CAP = "your own limit for this model is reached: raise it in the Ark console, or leave its Safe Experience Mode"

CODES: tuple[Rule, ...] = (
    # 400: the row
    refused(Kind.TOO_LONG, "InvalidParameter", says=TOO_LONG),
    refused(
        Kind.INVALID_REQUEST,
        "MissingParameter",
        "InvalidParameter",
        "InvalidArgumentError",
        "InvalidImageURL",
        "Duplicate.Tags.Key",
    ),
    refused(Kind.TOO_LONG, "OutofContextError", "RequestTooLarge", "RequestBodyTooLarge"),
    refused(
        Kind.BLOCKED,
        "SensitiveContentDetected",
        *(f"Input{what}SensitiveContentDetected" for what in ("Text", "Image", "Video", "Audio")),
        *(f"Output{what}SensitiveContentDetected" for what in ("Text", "Image", "Video", "Audio")),
        *(f"{side}{what}RiskDetection" for side in ("Input", "Output") for what in ("Text", "Image")),
    ),
    again(Kind.SERVER_ERROR, "ContentSecurityDetectionError"),  # the checker failed, not the row
    halt(
        Kind.NOT_FOUND,
        "the inference endpoint is closed: start it in the Ark console, or name another one with --model",
        "InvalidEndpoint.ClosedEndpoint",
    ),
    halt(
        Kind.DENIED,
        "the coding plan of this key is missing or has expired: renew it, or use an ordinary API key",
        "InvalidSubscription",
    ),
    # 401, 402, 403: the account
    halt(Kind.AUTH, KEY, "AuthenticationError", "InvalidApiKey", "InvalidAPIKey"),
    halt(Kind.DENIED, "the account is not in order: see its messages in the console", "InvalidAccountStatus"),
    halt(Kind.BILLING, RECHARGE, "AccountOverdueError", "OperationDenied.ServiceOverdue"),
    halt(Kind.DENIED, ACTIVATE, "OperationDenied.ServiceNotOpen"),
    again(Kind.DENIED, "OperationDenied.InvalidState", "OperationDenied.UnsupportedPhase"),  # being written
    halt(
        Kind.QUOTA,
        "the file storage of the account is full: delete files that are no longer needed",
        "OperationDenied.FileQuotaExceeded",
    ),
    halt(Kind.DENIED, PERMIT, "AccessDenied", "OperationDenied"),
    # 404: the model
    halt(Kind.NOT_FOUND, MODEL, "InvalidEndpointOrModel", "InvalidEndpoint"),
    halt(
        Kind.NOT_FOUND,
        "this account may not use model ids: create an inference endpoint in the Ark console and name its ep-... id",
        "InvalidEndpointOrModel.ModelIDAccessDisabled",
    ),
    halt(Kind.NOT_FOUND, ACTIVATE, "ModelNotOpen"),
    halt(
        Kind.NOT_FOUND,
        "the plan of this key lacks the model: name another one with --model",
        "UnsupportedModel",
    ),
    refused(Kind.NOT_FOUND, "NotFound"),  # a file or a context that this row names
    # 429: the rate, the concurrency or the money
    slower(  # tokens a day, over a sliding window
        Kind.RATE_LIMITED,
        "RateLimitExceeded.FoundationModelTPDExceeded",
        "RateLimitExceeded.TPDExceeded",
        pause=300.0,
    ),
    slower(
        Kind.RATE_LIMITED,
        "RateLimitExceeded",
        *(f"ModelAccount{what}RateLimitExceeded" for what in ("Rpm", "Tpm", "Ipm", "FlexTpm")),
        "APIAccountRpmRateLimitExceeded",
        "AccountRateLimitExceeded",
    ),
    fewer(
        Kind.OVERLOADED,
        "ServerOverloaded",
        "RequestBurstTooFast",
        "InflightBatchsizeExceeded",
        "ModelLoadingError",
    ),
    halt(Kind.QUOTA, PLAN, "AccountQuotaExceeded", "QuotaExceeded.AgentPlanQuotaExceeded"),
    halt(Kind.QUOTA, PLAN, "QuotaExceeded", says=r"will reset at"),
    halt(Kind.QUOTA, FREE, "QuotaExceeded", says=r"free (trial )?quota|exhausted"),
    fewer(Kind.OVERLOADED, "QuotaExceeded"),  # too many queued tasks
    halt(Kind.QUOTA, CAP, "SetLimitExceeded"),
    again(Kind.SERVER_ERROR, "InternalServiceError"),
    # The gateway before Ark, and the control plane
    halt(
        Kind.AUTH,
        "the clock of this machine is wrong: set it, the service compares it with its own",
        "InvalidTimestamp",
    ),
    halt(
        Kind.AUTH,
        GATEWAY,
        "MissingRequestInfo",
        "InvalidAccessKey",
        "SignatureDoesNotMatch",
        "InvalidAuthorization",
        "InvalidCredential",
        "InvalidSecretToken",
    ),
    halt(Kind.NOT_FOUND, ADDRESS, "ServiceNotFound", "InvalidActionOrVersion"),
    again(Kind.SERVER_ERROR, "InternalError", "InternalServiceTimeout", "ServiceUnavailableTemp"),
    slower(Kind.RATE_LIMITED, "FlowLimitExceeded"),
)

# Codes and types that providers use for several things, so that the words go first.
TYPES: tuple[Rule, ...] = (
    halt(Kind.AUTH, KEY, "invalid_api_key", "authentication_error", "invalid_organization"),
    halt(Kind.DENIED, PERMIT, "permission_error", "permission_denied", "unsupported_country_region_territory"),
    halt(
        Kind.BILLING,
        "the account has no quota left: see plan and billing on the service's website",
        "billing_not_active",
        "billing_hard_limit_reached",
        "billing_error",
        "account_deactivated",
    ),
    halt(
        Kind.NOT_FOUND,
        MODEL,
        "model_not_found",
        "DeploymentNotFound",
        "not_found_error",
        "NotFoundError",
    ),
    refused(Kind.TOO_LONG, "context_length_exceeded", "string_above_max_length", "request_too_large"),
    refused(Kind.BLOCKED, "content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"),
    refused(Kind.TOO_LONG, "rate_limit_exceeded", says=r"request too large"),  # over a minute's whole allowance
    slower(Kind.RATE_LIMITED, "rate_limit_exceeded", "rate_limit_error"),
    fewer(Kind.OVERLOADED, "overloaded_error", "engine_overloaded", "server_overloaded"),
    # No capacity for the flex tier just now: OpenAI says 429 with this code, Groq 498. Neither is billed.
    fewer(Kind.OVERLOADED, "resource_unavailable", "capacity_exceeded"),
    # The error of a response that failed (Responses API).
    again(Kind.SERVER_ERROR, "server_error"),
    again(Kind.SERVER_ERROR, "abort", "aborted"),  # SGLang, of a request that it dropped
    refused(Kind.BLOCKED, "invalid_prompt", "bio_policy", "misalignment_policy_violation"),
    refused(
        Kind.BAD_FILE,
        *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "invalid_image_mode"),
        *("image_too_large", "image_too_small", "image_file_too_large", "empty_image_file", "image_parse_error"),
        *("unsupported_image_media_type", "failed_to_download_image", "image_file_not_found"),
    ),
    refused(Kind.BLOCKED, "image_content_policy_violation"),
)

STATUSES: tuple[Rule, ...] = (
    # Unknown codes, by status. 503 and 529 mean that the service has no capacity now: waiting for it costs the row
    # no attempt, while 500, 502 and 504 may be the row's own doing and spend its attempts.
    halt(Kind.NOT_FOUND, "the server redirects, where no key follows: " + ADDRESS, 3),
    refused(Kind.TOO_LONG, 413),
    refused(Kind.BLOCKED, 451),
    halt(Kind.AUTH, KEY, 401),
    halt(Kind.BILLING, RECHARGE, 402),
    halt(Kind.DENIED, PERMIT, 403),
    halt(Kind.NOT_FOUND, ADDRESS, 405),
    halt(Kind.AUTH, "the proxy wants a password: check HTTPS_PROXY", 407),
    refused(Kind.NOT_FOUND, 404),
    again(Kind.TIMEOUT, 408),
    again(Kind.SERVER_ERROR, 409, 421, 424, 425, 498, 499),
    slower(Kind.RATE_LIMITED, 429),
    fewer(Kind.OVERLOADED, 503, 529),
    refused(Kind.INVALID_REQUEST, 4),
    again(Kind.SERVER_ERROR, 5),
    again(Kind.BAD_REPLY, 2),  # an error in a 200 of which nothing is known
)

# A 404 without any code comes from a server that does not know the path, so it concerns every row.
NO_SUCH_PATH = halt(Kind.NOT_FOUND, ADDRESS)

# The status that an error inside a 200 would have had, by Ark's `type`.
STATUS_OF_TYPE = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "invalid_request_error": 400,
}


RULES = (*CODES, *TYPES, *STATUSES)

_QUOTA_PAUSE_SECONDS = 300.0  # between two tries where a quota names no time of its return
MEANINGS: Mapping[Meaning, Rule] = {
    Meaning.RATE: slower(Kind.RATE_LIMITED),
    Meaning.LOAD: fewer(Kind.OVERLOADED),
    Meaning.QUOTA: slower(Kind.QUOTA, pause=_QUOTA_PAUSE_SECONDS),
    Meaning.MONEY: halt(Kind.BILLING, RECHARGE),
    Meaning.NO_QUOTA: halt(Kind.BILLING, NO_QUOTA, confirm=Confirm.AFTER_A_WHILE),
    Meaning.ROW_TOO_DEAR: halt(Kind.BILLING, TOO_DEAR, confirm=Confirm.SEVERAL_ROWS),
    Meaning.KEY: halt(Kind.AUTH, KEY),
    Meaning.PERMISSION: halt(Kind.DENIED, PERMIT),
    Meaning.ADDRESS: halt(Kind.NOT_FOUND, ADDRESS),
    Meaning.MODEL: halt(Kind.NOT_FOUND, MODEL),
    Meaning.TOO_LONG: refused(Kind.TOO_LONG),
    Meaning.BLOCKED: refused(Kind.BLOCKED),
    Meaning.PARAMETER: refused(Kind.INVALID_REQUEST),
    Meaning.TEMPORARY: again(Kind.SERVER_ERROR),
}
