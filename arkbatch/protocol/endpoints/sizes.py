"""How large a text is, in the terms that an estimate of its tokens needs, without a look at each character.

CPython knows a string's length and whether it is ASCII; encoding it gives the length in UTF-8. A wide character
(three bytes, as Chinese) adds two bytes to its one, so half of the surplus is the number of wide characters. A
character of two bytes (Cyrillic, accents) counts as half a wide one, which suits what tokenizers make of it; an
emoji counts as one and a half.
"""


def narrow_and_wide(text: str) -> tuple[int, int]:
    characters = len(text)
    if text.isascii():
        return characters, 0
    surplus = len(text.encode("utf-8", "surrogatepass")) - characters
    wide = min(characters, (surplus + 1) // 2)
    return characters - wide, wide
