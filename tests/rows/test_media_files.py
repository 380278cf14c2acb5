"""Rows that name files: what is sent is the file, what cannot be read fails its row, and nothing leaves the directory."""

import os
import tracemalloc

import orjson
import pytest
from media_parts import PNG, as_url, asks, shows

from arkbatch.core.calls import Cause, Kind
from arkbatch.rows import media_files as module
from arkbatch.rows.media_files import Images

MP4 = b"\0\0\0\x20ftypisom" + bytes(100)


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "photos"
    (inside / "more").mkdir(parents=True)
    (inside / "a.png").write_bytes(PNG)
    (inside / "more" / "b.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    (inside / "clip.mp4").write_bytes(MP4)
    (tmp_path / "secret.png").write_bytes(PNG)
    return inside


def encoded(folder, *parts):
    return Images(folder).encode_request(asks(*parts))


def sent_urls(data):
    parts = orjson.loads(data)["messages"][1]["content"]
    return [next(iter(part.values()))["url"] for part in [{k: v for k, v in p.items() if k != "type"} for p in parts]]


def test_a_file_goes_out_as_a_data_url_and_the_rest_untouched(folder):
    odd = {"type": "text", "text": 'a zero \0 byte, "quotes" and 图'}
    data = encoded(folder, odd, shows("a.png", detail="low"), shows("https://x/y.png"))
    assert orjson.loads(data) == asks(odd, shows(as_url("image/png", PNG), detail="low"), shows("https://x/y.png"))


def test_several_files_keep_their_order_and_their_kind(folder):
    data = encoded(folder, shows("more/b.jpg"), shows("clip.mp4", "video_url"), shows("a.png"), shows("a.png"))
    jpeg = as_url("image/jpeg", (folder / "more/b.jpg").read_bytes())
    png = as_url("image/png", PNG)
    assert sent_urls(data) == [jpeg, as_url("video/mp4", MP4), png, png]


@pytest.mark.parametrize("surplus", [-4, -3, -2, -1, 0, 1, 2])
def test_pieces_are_joined_to_one_base64(folder, surplus):
    content = PNG[:8] + os.urandom(3 * module._PIECE - 8 + surplus)
    (folder / "large.png").write_bytes(content)
    assert sent_urls(encoded(folder, shows("large.png"))) == [as_url("image/png", content)]


def test_a_row_without_files_is_plain_json(folder):
    body = asks({"type": "text", "text": "a.png"})
    assert Images(folder).encode_request(body) == orjson.dumps(body)


def test_the_type_is_that_of_the_content_whatever_the_name_says(folder):
    (folder / "photo.jpg").write_bytes(PNG)
    assert sent_urls(encoded(folder, shows("photo.jpg"))) == [as_url("image/png", PNG)]


def test_of_an_image_nothing_is_in_memory_but_its_place_in_the_body(folder):
    (folder / "large.png").write_bytes(PNG[:8] + os.urandom(9 << 20))
    body = asks(shows("large.png"))
    tracemalloc.start()
    data = Images(folder).encode_request(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.25 * len(data)


def refused(folder, *parts):
    cause = encoded(folder, *parts)
    assert isinstance(cause, Cause), "it was encoded"
    assert "shorter" in cause.message or Images(folder).why_unfit(asks(*parts)) == cause
    assert "\n" not in cause.message
    return cause


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gone.png", "no such file"),
        ("a.png/x.png", "cannot be read"),
        ("more", "no file"),
        ("empty.png", "empty"),
        ("text.png", "like no image"),
        ("clip.mp4", "like no image"),
        ("/etc/hostname", "absolute"),
        ("../secret.png", ".."),
        ("file:%2e%2e/secret.png", ".."),
        ("out.png", "link leads out"),
        ("outside/secret.png", "link leads out"),
        ("loop.png", "cannot be read"),
        ("pipe.png", "no file"),
        ("x" * 5000, "cannot be read"),
    ],
)
def test_what_cannot_be_sent_fails_its_row_with_the_reason(folder, url, words):
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image at all")
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    (folder / "outside").symlink_to(folder.parent)
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    cause = refused(folder, shows("a.png"), shows(url))
    assert cause.kind is Kind.BAD_FILE
    assert words in cause.message
    assert url[:100] in cause.message


def test_a_link_that_stays_inside_is_followed(folder):
    (folder / "link.png").symlink_to(folder / "a.png")
    assert sent_urls(encoded(folder, shows("link.png"))) == [as_url("image/png", PNG)]


def test_the_directory_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert sent_urls(encoded(tmp_path / "link", shows("a.png"))) == [as_url("image/png", PNG)]


def test_a_directory_beside_with_a_longer_name_is_outside(folder, tmp_path):
    (tmp_path / "photos2").mkdir()
    (tmp_path / "photos2" / "a.png").write_bytes(PNG)
    (folder / "beside").symlink_to(tmp_path / "photos2")
    assert "link leads out" in refused(folder, shows("beside/a.png")).message


def test_a_file_that_may_not_be_read_fails_its_row(folder, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.os, "open", denied)
    assert "cannot be read: Permission denied" in refused(folder, shows("a.png")).message


def sparse(path, beginning, size):
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(size)


def test_an_image_or_a_video_over_its_limit_is_not_read(folder):
    sparse(folder / "large.png", PNG, (10 << 20) + 1)
    sparse(folder / "long.mp4", MP4, (50 << 20) + 1)
    cause = refused(folder, shows("large.png"))
    assert cause.kind is Kind.BAD_FILE
    assert "10,485,761 bytes; allowed are 10,485,760" in cause.message
    assert "allowed are 52,428,800" in refused(folder, shows("long.mp4", "video_url")).message


def test_a_body_over_its_limit_is_refused_before_an_image_is_read(folder, monkeypatch):
    sparse(folder / "large.png", PNG, 9 << 20)
    monkeypatch.setattr(module, "_append_file", None)
    cause = refused(folder, *[shows("large.png")] * 6)
    assert cause.kind is Kind.BAD_FILE
    assert "allowed are 67,108,864" in cause.message


def test_a_file_that_shrinks_while_it_is_read_fails_its_row(folder, monkeypatch):
    beginning = module._beginning_of_url

    def shrunk(file):
        found = beginning(file)
        os.truncate(file.path, 50)
        return found

    monkeypatch.setattr(module, "_beginning_of_url", shrunk)
    assert "shorter" in refused(folder, shows("a.png")).message


def test_a_look_tells_what_is_missing_and_opens_nothing(folder, monkeypatch):
    monkeypatch.setattr(module, "_open_file", None)
    images = Images(folder)
    assert images.why_missing(asks(shows("a.png"), shows("https://x"))) is None
    assert images.why_missing(asks(shows("a.png"), shows("gone.png"))).startswith(
        'image "gone.png": there is no such file'
    )
