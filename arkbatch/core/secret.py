"""Keys and access keys that no log, traceback or encoder can print."""

from typing import NoReturn

from msgspec import Struct


class Secret:
    """A key that no log, traceback or encoder can print; only `reveal` returns its text."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written to disk or sent to another process; pass reveal() on purpose")


NO_KEY = Secret("no-key-needed")


class Access(Struct, frozen=True):
    """An access key with its secret, and the control plane that issues API keys.

    A temporary access key has a session token beside it.
    storage, region: the address of object storage (TOS), and the region that its requests are signed for
    """

    id: Secret
    secret: Secret
    control_plane: str
    token: Secret = Secret("")
    storage: str = ""
    region: str = ""
