"""Which images and videos of a request are files on this machine, and what kind of file some bytes begin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_parts import asks, shows

from arkbatch.protocol.media import BYTES_NEEDED, FileName, file_names, media_type, with_files


@pytest.mark.parametrize(
    "url",
    [
        "https://x/y.png",
        "HTTP://x/y.png",
        "data:image/png;base64,iVBORw0KGgo=",
        "tos://bucket/key.png",
        "asset+1.0://x",
        "",
    ],
)
def test_an_address_with_a_scheme_is_left_to_the_service(url):
    body = asks(shows(url))
    assert list(file_names(body)) == []
    assert with_files(body, lambda name: "never") == body


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("a.png", "a.png"),
        ("photos/a b.png", "photos/a b.png"),
        ("./a.png", "./a.png"),
        ("a%20b.png", "a%20b.png"),
        ("file:a%20b.png", "a b.png"),
        ("FILE:photos/a.png", "photos/a.png"),
        ("图/猫.jpg", "图/猫.jpg"),
        ("a..b/..c.png", "a..b/..c.png"),
        ("12:30.png", "12:30.png"),
    ],
)
def test_a_relative_path_names_a_file(url, path):
    (name,) = file_names(asks(shows(url)))
    assert (name.kind, name.path, name.problem) == ("image", path, None)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("/etc/passwd", "absolute"),
        ("file:/etc/passwd", "absolute"),
        ("file:///etc/passwd", "absolute"),
        ("file://host/share/a.png", "absolute"),
        ("//host/a.png", "absolute"),
        ("C:\\secret.png", "absolute"),
        ("c:secret.png", "absolute"),
        ("\\\\host\\a.png", "absolute"),
        ("../a.png", ".."),
        ("a/../../b.png", ".."),
        ("a\\..\\b.png", ".."),
        ("file:%2e%2e/a.png", ".."),
        ("file:%2Fetc/passwd", "absolute"),
        ("..", ".."),
        ("file:", "no path"),
        ("a\0.png", "no path"),
    ],
)
def test_a_path_that_could_lead_elsewhere_has_a_problem(url, word):
    (name,) = file_names(asks(shows(url)))
    assert word in name.problem


def test_files_are_found_in_messages_and_in_input_in_their_order():
    body = asks({"type": "text", "text": "t.png"}, shows("1.png"), shows("2.mp4", "video_url", fps=1))
    body["input"] = [shows("3.png"), "text", shows("https://x"), None]
    assert [(name.kind, name.url) for name in file_names(body)] == [
        ("image", "1.png"),
        ("video", "2.mp4"),
        ("image", "3.png"),
    ]


def test_what_stands_in_the_place_of_a_file_leaves_the_rest_and_the_original_as_they_are():
    body = asks({"type": "text", "text": "t"}, shows("1.png", detail="low"))
    filled = with_files(body, lambda name: name.path.upper())
    assert filled == asks({"type": "text", "text": "t"}, shows("1.PNG", detail="low"))
    assert body == asks({"type": "text", "text": "t"}, shows("1.png", detail="low"))


def test_a_long_name_is_shortened_in_a_message():
    assert len(FileName("image", "x" * 100_000).why_unfit("no")) < 300


JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["a.png", "image_url", "https://x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "input", "content", "image_url", "url", "type"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_a_body_of_any_shape_has_as_many_names_as_places(parsed):
    body = {"messages": parsed, "input": [parsed]}
    places = []
    with_files(body, places.append)
    assert places == list(file_names(body))


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM\x46\0\0\0", "image/bmp"),
        (b"II*\0\x08\0\0\0", "image/tiff"),
        (b"MM\0*\0\0\0\x08", "image/tiff"),
        (b"\0\0\1\0\1\0", "image/x-icon"),
        (b"icns\0\0\0\0", "image/icns"),
        (b"\x01\xda\1\1\0\3", "image/sgi"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
        (b"\xff\x4f\xff\x51\0\x2f", "image/jp2"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "image/heif"),
        (b"RIFF\x24\0\0\0AVI LIST", "video/avi"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "video/quicktime"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "video/quicktime"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "video/mp4"),
        (b"\n\0\0\0ftypmp42\0\0\0\0", "video/mp4"),
        (b"%PDF-1.7", None),
        (b"<svg xmlns=", None),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"\0\0\0\x1cftypavif\0\0\0\0", None),
        (b"", None),
        (b"B", None),
    ],
)
def test_the_first_bytes_tell_the_documented_formats(beginning, kind):
    assert media_type(beginning[:BYTES_NEEDED]) == kind


def test_files_of_the_responses_api_are_found_where_its_parts_name_them():
    content = [
        {"type": "input_text", "text": "which?"},
        {"type": "input_image", "image_url": "cats/1.png", "detail": "low"},
        {"type": "input_image", "image_url": "https://x/2.png"},
        {"type": "input_video", "video_url": "3.mp4", "fps": 1},
    ]
    body = {"model": "m", "input": [{"role": "user", "content": content}, {"role": "user", "content": "go"}]}
    assert [(name.kind, name.url) for name in file_names(body)] == [("image", "cats/1.png"), ("video", "3.mp4")]
    filled = with_files(body, lambda name: f"data:{name.url}")
    parts = filled["input"][0]["content"]
    assert parts[1] == {"type": "input_image", "image_url": "data:cats/1.png", "detail": "low"}
    assert (parts[0], parts[2], parts[3]["video_url"]) == (content[0], content[2], "data:3.mp4")
    assert content[1]["image_url"] == "cats/1.png"
