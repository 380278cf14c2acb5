"""The texts in a request of any endpoint, as Ark's tokenization takes them: one by one, none of them empty."""

from arkbatch.core.types import Body
from arkbatch.protocol.endpoints import chat, embeddings, multimodal, passthrough, responses, tokenization
from arkbatch.protocol.endpoints.batch_lane import online_name


def texts_of(endpoint: str, body: Body) -> list[str]:
    """Of a body without a `problem`. Images and what the service puts around a request are not in it."""
    found: list[object]
    match online_name(endpoint):
        case chat.ENDPOINT.name:
            found = [*chat.texts(body)[0]]
        case embeddings.ENDPOINT.name:
            found = _listed(body["input"])
        case multimodal.NAME:
            found = [part.get("text") for part in body["input"]] + [body.get("instructions")]
        case tokenization.NAME:
            found = _listed(body["text"])
        case responses.NAME:
            found = [*responses.texts(body)[0]]
        case path if passthrough.is_path(path):
            found = [*passthrough.texts(body)]
        case unknown:
            raise ValueError(f"no texts are known of {unknown}")
    return [text for text in found if type(text) is str and text]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
