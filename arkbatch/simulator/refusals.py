"""The errors that Ark documents, as far as the simulator gives them: status, code, message.

The messages are the service's own, because clients read them: `QuotaExceeded` means three things that only the message
tells apart. Source: the error page of the Ark documentation (docs/82379/1299023). `wire` writes them down.
"""

from msgspec import Struct

ACCOUNT = "2100000000"

TYPES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    413: "BadRequest",
    429: "TooManyRequests",
    500: "InternalServerError",
}


class Refusal(Struct, frozen=True, gc=False):
    """An error answer; `{model}` in the message stands for the requested model."""

    status: int
    code: str
    message: str
    param: str = ""


NO_KEY = Refusal(401, "AuthenticationError", "The API key or AK/SK in the request is missing or invalid.")
BAD_KEY_FORMAT = Refusal(401, "AuthenticationError", "The API key format is incorrect.")
NOT_ITS_KEY = Refusal(
    403, "AccessDenied", "The request failed because you do not have access to the requested resource {model}."
)

NO_SUCH_MODEL = Refusal(
    404,
    "InvalidEndpointOrModel.NotFound",
    "The model or endpoint {model} does not exist or you do not have access to it.",
)
MODEL_NOT_OPEN = Refusal(
    404,
    "ModelNotOpen",
    f"Your account {ACCOUNT} has not activated the model {{model}}. "
    "Please activate the model service in the Ark Console.",
)
OVERDUE = Refusal(403, "AccountOverdueError", "The request failed because your account has an overdue balance.")

ENDPOINT_RPM = Refusal(
    429,
    "RateLimitExceeded.EndpointRPMExceeded",
    "The Requests Per Minute (RPM) limit of the associated endpoint for your account has been exceeded.",
)
MODEL_RPM = Refusal(
    429,
    "ModelAccountRpmRateLimitExceeded",
    "RPM (Requests Per Minute) limit of the model is exceeded.",
)
MODEL_TPM = Refusal(
    429,
    "ModelAccountTpmRateLimitExceeded",
    "TPM (Tokens Per Minute) limit of the model is exceeded.",
)
OVERLOADED = Refusal(
    429,
    "ServerOverloaded",
    "The service is currently unable to handle additional requests due to server overload. Please retry later.",
)
BURST = Refusal(
    429,
    "RequestBurstTooFast",
    "System protection triggered by request burst. "
    "Please slow down traffic growth and increase requests gradually before retrying.",
)
INFLIGHT = Refusal(429, "InflightBatchsizeExceeded", "The Inflight Batchsize limit has been exceeded.")
FREE_QUOTA = Refusal(
    429,
    "QuotaExceeded",
    f"Your account [{ACCOUNT}] has exhausted its free trial quota for the [{{model}}] model.",
)
SET_LIMIT = Refusal(
    429,
    "SetLimitExceeded",
    f"Your account [{ACCOUNT}] has reached the set inference limit for the [{{model}}] model, and the model "
    "service has been paused. To continue using this model, please visit the Model Activation page to adjust "
    'or close the "Safe Experience Mode".',
)

SENSITIVE = Refusal(
    400,
    "SensitiveContentDetected",
    "The request failed because the input text may contain sensitive information.",
)
SENSITIVE_ANSWER = Refusal(
    400,
    "OutputTextSensitiveContentDetected",
    "The request failed because the output text may contain sensitive information.",
)
INVALID = Refusal(400, "InvalidParameter", "One or more parameters specified in the request are not valid.")
NOT_JSON = Refusal(400, "InvalidParameter", "The request body is not a JSON object.")
TOO_LONG = Refusal(400, "OutofContextError", "Total tokens of image and text exceed max message tokens.")
TOO_LARGE = Refusal(413, "InvalidParameter", "The request body exceeds the limit of 64 MB.")
INTERNAL = Refusal(
    500,
    "InternalServiceError",
    "The service encountered an unexpected internal error. Please retry later.",
)
NO_ENCRYPTION = Refusal(
    500, "InternalServiceError", "This simulator cannot encrypt; it needs: pip install 'arkbatch[seal]'."
)


def missing_parameter(name: str) -> Refusal:
    return Refusal(400, f"MissingParameter.{name}", f"The required parameter {name} is missing.", name)


def invalid_parameter(name: str, why: str) -> Refusal:
    message = f"The parameter `{name}` specified in the request are not valid: {why}."
    return Refusal(400, "InvalidParameter", message, name)


def unsupported_parameter(name: str) -> Refusal:
    message = f"The parameters {name} specified in the request are not supported by this endpoint."
    return Refusal(400, "InvalidParameter.UnsupportedParameter", message, name)
