"""Objects in a bucket: read by ranges, seen to change, uploaded whole or not at all; against a local server."""

from pathlib import Path

import pytest
from buckets import serving_bucket

pytest.importorskip("obstore")

from arkbatch.core.errors import UsageError
from arkbatch.rows.object_storage import Identity, copy_ranges, list_objects, open_bytes, upload_file


@pytest.fixture
def store():
    with serving_bucket() as bucket:
        yield bucket


def test_an_object_is_read_by_ranges_and_only_as_the_version_that_was_seen(store):
    data = bytes(range(256)) * 100
    store.objects["in/a.jsonl"] = data
    source = open_bytes("s3://bucket/in/a.jsonl", store.environ)
    seen = source.identity()
    assert seen.size == len(data)
    again = open_bytes("s3://bucket/in/a.jsonl", store.environ, tag=seen.tag)
    assert again.read_range(300, 700) == data[300:700]
    assert b"".join(copy_ranges(again, 10, len(data))) == data[10:]
    asked = [{name.lower() for name in headers} for command, _, headers in store.requests if command == "GET"]
    assert all("range" in names for names in asked)
    store.objects["in/a.jsonl"] = data[::-1]
    with pytest.raises(UsageError, match="changed while it was read"):
        again.read_range(0, 10)


def test_no_header_is_sent_that_tos_and_oss_refuse(store):
    store.objects["a"] = b"x" * 100
    open_bytes("s3://bucket/a", store.environ).read_range(0, 50)
    names = {name.lower() for _, _, headers in store.requests for name in headers}
    assert not {name for name in names if "checksum" in name or "sdk" in name or name == "x-amz-trailer"}


def test_a_pattern_lists_the_objects_that_match(store):
    store.objects |= {f"in/part-{number}.jsonl": b"{}" for number in (1, 2)} | {"in/other.txt": b"", "out/x.jsonl": b""}
    assert list_objects("s3://bucket/in/*.jsonl", store.environ) == [
        "s3://bucket/in/part-1.jsonl",
        "s3://bucket/in/part-2.jsonl",
    ]


def test_a_store_that_is_overloaded_is_asked_again(store):
    store.objects["a"] = b"0123456789"
    store.refuses = [503, 503]
    assert open_bytes("s3://bucket/a", store.environ).read_range(2, 5) == b"234"
    assert len(store.requests) == 3


def test_a_missing_object_and_an_address_without_a_name_are_told(store):
    with pytest.raises(UsageError, match="does not exist"):
        open_bytes("s3://bucket/gone", store.environ).identity()
    with pytest.raises(UsageError, match="no address of an object"):
        open_bytes("s3://bucket", store.environ)


def test_an_upload_replaces_nothing_unless_that_is_wanted(store, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("a,b\n")
    upload_file(path, "s3://bucket/out/answers.csv", replace=False, environ=store.environ)
    assert store.objects["out/answers.csv"] == b"a,b\n"
    path.write_text("c,d\n")
    with pytest.raises(UsageError, match="exists"):
        upload_file(path, "s3://bucket/out/answers.csv", replace=False, environ=store.environ)
    upload_file(path, "s3://bucket/out/answers.csv", replace=True, environ=store.environ)
    assert store.objects["out/answers.csv"] == b"c,d\n"


def test_a_bucket_of_tos_stands_in_the_host_name_and_its_native_host_is_refused():
    names = {"TOS_ACCESS_KEY": "id", "TOS_SECRET_KEY": "secret", "TOS_REGION": "cn-beijing"}
    assert open_bytes("tos://bucket/a", names).name == "tos://bucket/a"
    with pytest.raises(UsageError, match=r"does not speak S3. Give tos-s3-cn-beijing\.volces\.com"):
        open_bytes("tos://bucket/a", names | {"TOS_ENDPOINT": "tos-cn-beijing.volces.com"})
    with pytest.raises(UsageError, match="needs OSS_ENDPOINT or OSS_REGION"):
        open_bytes("oss://bucket/a", {})


def test_a_file_on_disk_is_read_the_same_way(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    source = open_bytes(str(path))
    assert source.read_range(2, 5) == b"234"
    assert source.identity() == Identity(10, str(Path(path).stat().st_mtime_ns))
    with pytest.raises(UsageError, match="Cannot reach"):
        open_bytes(str(tmp_path / "b")).identity()
