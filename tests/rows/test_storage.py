"""Objects in a bucket: read by ranges, seen to change, uploaded whole or not at all; against a local server."""

import hashlib
import http.server
import threading
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from arkbatch.core.errors import UsageError
from arkbatch.rows.storage import Identity, copy_ranges, list_objects, open_bytes, upload_file


class Bucket:
    """Objects by key, and the requests that came. refuses: statuses for the next requests."""

    def __init__(self):
        self.objects, self.requests, self.refuses = {}, [], []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def key(self):
        return self.path.partition("?")[0].removeprefix("/bucket/")

    def note(self):
        self.bucket.requests.append((self.command, self.path, dict(self.headers)))
        if self.bucket.refuses:
            self.answer(self.bucket.refuses.pop(0), b"<Error><Code>SlowDown</Code></Error>")
            return False
        return True

    def do_GET(self):
        if not self.note():
            return
        if "list-type=2" in self.path:
            self.list()
            return
        data = self.bucket.objects.get(self.key())
        if data is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        if self.headers.get("If-Match", tag) != tag:
            self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        headers = {"ETag": tag, "Last_Modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
        asked = self.headers.get("Range")
        if asked is None:
            self.answer(200, data, **headers)
            return
        begin, end = (int(part) for part in asked.removeprefix("bytes=").split("-"))
        part = data[begin : end + 1]
        headers["Content_Range"] = f"bytes {begin}-{begin + len(part) - 1}/{len(data)}"
        self.answer(206, part, **headers)

    def do_HEAD(self):
        data = self.bucket.objects.get(self.key())
        self.bucket.requests.append((self.command, self.path, dict(self.headers)))
        if data is None:
            self.answer(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.note():
            return
        if self.headers.get("If-None-Match") == "*" and self.key() in self.bucket.objects:
            self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        self.bucket.objects[self.key()] = body
        self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def list(self):
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-11-30T00:00:00.000Z</LastModified>"
            f"<ETag>x</ETag><Size>{len(data)}</Size></Contents>"
            for key, data in sorted(self.bucket.objects.items())
        )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
        self.answer(200, body, Content_Type="application/xml")


@pytest.fixture
def store():
    bucket = Bucket()
    handler = type("Bound", (Handler,), {"bucket": bucket})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bucket.environ = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "r-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
    }
    yield bucket
    server.shutdown()
    server.server_close()


def test_an_object_is_read_by_ranges_and_only_as_the_version_that_was_seen(store):
    data = bytes(range(256)) * 100
    store.objects["in/a.jsonl"] = data
    source = open_bytes("s3://bucket/in/a.jsonl", store.environ)
    seen = source.identity()
    assert seen.size == len(data)
    again = open_bytes("s3://bucket/in/a.jsonl", store.environ, tag=seen.tag)
    assert again.read(300, 700) == data[300:700]
    assert b"".join(copy_ranges(again, 10, len(data))) == data[10:]
    asked = [{name.lower() for name in headers} for command, _, headers in store.requests if command == "GET"]
    assert all("range" in names for names in asked)
    store.objects["in/a.jsonl"] = data[::-1]
    with pytest.raises(UsageError, match="changed while it was read"):
        again.read(0, 10)


def test_no_header_is_sent_that_tos_and_oss_refuse(store):
    store.objects["a"] = b"x" * 100
    open_bytes("s3://bucket/a", store.environ).read(0, 50)
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
    assert open_bytes("s3://bucket/a", store.environ).read(2, 5) == b"234"
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
    assert source.read(2, 5) == b"234"
    assert source.identity() == Identity(10, str(Path(path).stat().st_mtime_ns))
    with pytest.raises(UsageError, match="Cannot reach"):
        open_bytes(str(tmp_path / "b")).identity()
