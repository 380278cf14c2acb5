"""What kind of image or video some bytes begin, for the formats that Ark documents.

The service compares the type that a data URL claims with its content, so the content decides here too.
"""

import re
from collections.abc import Sequence

BYTES_NEEDED = 16

# From Ark's tables of formats for image understanding, image embeddings and video understanding.
_BEGINNINGS: Sequence[tuple[re.Pattern[bytes], str]] = [
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBP", "image/webp"),
        (rb"BM", "image/bmp"),
        (rb"II\*\x00|MM\x00\*", "image/tiff"),
        (rb"\x00\x00\x01\x00", "image/x-icon"),
        (rb"icns", "image/icns"),
        (rb"\x01\xda[\x00\x01][\x01\x02]", "image/sgi"),
        (rb"\x00\x00\x00\x0cjP  \r\n|\xff\x4f\xff\x51", "image/jp2"),
        (rb"....ftyp(?:hei[cxms]|hev[cxms])", "image/heic"),
        (rb"....ftyp(?:mif1|msf1)", "image/heif"),
        (rb"RIFF....AVI ", "video/avi"),
        (rb"....ftypqt  |....(?:moov|mdat|wide|free|skip)", "video/quicktime"),
        (rb"....ftyp(?!avi[fs]|jp2)", "video/mp4"),
    )
]


def media_type(beginning: bytes) -> str | None:
    """`image/png` and the like, None for what is none of them. Sixteen bytes are enough."""
    return next((kind for pattern, kind in _BEGINNINGS if pattern.match(beginning)), None)
