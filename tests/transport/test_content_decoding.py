"""Bodies are inflated by what their bytes are, in any pieces, whatever their headers say."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.transport.content_decoding import ContentDecoder, may_be_compressed

TEXT = b'{"choices":[' + b",".join(b'{"a":%d}' % (place * place) for place in range(200)) + b"]}"
GZIP = gzip.compress(TEXT)
WITH_NAME = GZIP[:3] + b"\x1e" + GZIP[4:10] + b"\x02\x00xy" + b"name\0" + b"words\0" + b"\x12\x34" + GZIP[10:]
READ = {
    "gzip": ("gzip", GZIP),
    "x-gzip": ("x-gzip", GZIP),
    "not said": ("", GZIP),
    "said and not done": ("gzip", TEXT),
    "said twice and done once": ("gzip, gzip", GZIP),
    "done twice": ("gzip", gzip.compress(GZIP)),
    "deflate around gzip": ("gzip, deflate", zlib.compress(GZIP)),
    "zlib": ("deflate", zlib.compress(TEXT)),
    "raw deflate": ("deflate", zlib.compress(TEXT)[2:-4]),
    "gzip that says deflate": ("deflate", GZIP),
    "two members": ("gzip", gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:])),
    "zeros behind": ("gzip", GZIP + b"\0\0\0"),
    "no checksum": ("gzip", GZIP[:-8]),
    "wrong checksum": ("gzip", GZIP[:-8] + b"12345678"),
    "all fields of a header": ("gzip", WITH_NAME),
    "br that was taken off": ("br", TEXT),
    "a charset in the wrong place": ("utf-8", TEXT),
}


def decoded(said, body, size):
    decoder = ContentDecoder(said)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(piece for part in parts for piece in decoder.feed(part)) + decoder.close(), decoder.trouble


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", READ)
def test_a_body_is_what_its_bytes_are_in_pieces_of_any_size(name, size):
    said, body = READ[name]
    assert decoded(said, body, size) == (TEXT, "")


@given(st.binary(), st.sampled_from(["", "gzip", "deflate", "br"]), st.integers(1, 9))
def test_no_bytes_raise(body, said, size):
    text, trouble = decoded(said, body, size)
    assert isinstance(text, bytes)
    assert isinstance(trouble, str)


def test_what_comes_before_a_break_is_kept_and_the_break_is_told():
    deflating = zlib.compressobj()
    broken = deflating.compress(TEXT) + deflating.flush(zlib.Z_SYNC_FLUSH) + b"\x07" * 9
    text, trouble = decoded("deflate", broken, 7)
    assert text == TEXT
    assert "compression is broken" in trouble


def test_a_compression_that_nobody_asked_for_is_named():
    assert "'br'" in decoded("br", b"\x1b\x8f\x00\xf8\x05", 9)[1]


def test_gigabytes_in_a_small_body_come_in_bounded_pieces():
    bomb = gzip.compress(bytes(1 << 24))
    sizes = [len(piece) for piece in ContentDecoder("gzip").feed(bomb)]
    assert max(sizes) <= 1 << 20
    assert sum(sizes) == 1 << 24


def test_plain_bodies_need_no_decoder():
    assert not may_be_compressed(TEXT, "")
