"""How fast a streamed answer was: time to the first token, then tokens per second."""

from arkbatch.core.calls import Reply
from arkbatch.core.histogram import Histogram


def tokens_per_second(reply: Reply, output: int) -> float | None:
    """Return output tokens per second after the first one; None when it was not streamed."""
    if reply.first_token is None or not output:
        return None
    growing = reply.seconds - reply.first_token
    return output / growing if growing > 0 else None


class Speeds:
    """The speeds of all streamed answers of a session."""

    __slots__ = ("first_token", "tokens_per_second")

    def __init__(self) -> None:
        self.first_token = Histogram()
        self.tokens_per_second = Histogram()

    def add(self, reply: Reply, output: int) -> None:
        if reply.first_token is None:
            return
        self.first_token.add(reply.first_token)
        speed = tokens_per_second(reply, output)
        if speed is not None:
            self.tokens_per_second.add(speed)
