"""The facts about one provider: address, key, and deviations from OpenAI's wire format."""

from collections.abc import Mapping

from msgspec import Struct

from arkbatch.protocol.error_words import Meaning


class Dialect(Struct, frozen=True, kw_only=True):
    """One provider. Only facts that no general rule tells stand here.

    name: for `--provider`; title: for people
    base_url: "" where it is a name of one's own; hosts: to which the key may go, a leading dot covers what is below
    key: the variable of the key, "" where the server asks for none
    errors: what the provider's own numbers mean, where the words do not tell
    usage, limits, batch: what is known, for people
    source: where it is known from
    """

    name: str
    title: str
    base_url: str
    hosts: tuple[str, ...] = ()
    key: str = ""
    errors: Mapping[str, Meaning] = {}
    usage: str = ""
    limits: str = ""
    batch: str = ""
    source: str


def by_code(meanings: Mapping[Meaning, str]) -> Mapping[str, Meaning]:
    """Return what each code means, of codes by their meaning.

    `http_412` stands for a status whatever the body says, and `http_400_empty` for one without a body.
    """
    return {code: meaning for meaning, codes in meanings.items() for code in codes.split()}
