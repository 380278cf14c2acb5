"""A bucket on loopback that speaks as much of S3 as is used: ranges, versions, lists, conditional puts."""

import base64
import hashlib
import http.server
import re
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, quote


class Bucket:
    """Objects by key, and the requests that came.

    refuses: statuses for the next requests; keeps_conditions: it refuses to create an object twice
    """

    keeps_conditions = True

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
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.note():
            return
        if source := self.headers.get("x-amz-copy-source"):
            body = self.bucket.objects[source.lstrip("/").removeprefix("bucket/")]
            self.bucket.objects[self.key()] = body
            tag = hashlib.md5(body).hexdigest()
            self.answer(200, f"<CopyObjectResult><ETag>{tag}</ETag></CopyObjectResult>".encode())
            return
        has_condition = self.headers.get("If-None-Match") == "*" and self.bucket.keeps_conditions
        if has_condition and self.key() in self.bucket.objects:
            self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        self.bucket.objects[self.key()] = body
        self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def do_POST(self):
        """Delete objects, which a store only takes with a checksum."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.note():
            return
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        if not self.path.endswith("?delete") or self.headers.get("Content-MD5") != digest:
            self.answer(400, b"<Error><Code>InvalidDigest</Code></Error>")
            return
        keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
        for key in keys:
            self.bucket.objects.pop(quote(key), None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode(), Content_Type="application/xml")

    def list(self):
        query = parse_qs(self.path.partition("?")[2])
        prefix = query.get("prefix", [""])[0]
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-11-30T00:00:00.000Z</LastModified>"
            f"<ETag>x</ETag><Size>{len(data)}</Size></Contents>"
            for key, data in sorted(self.bucket.objects.items())
            if key.startswith(prefix)
        )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
        self.answer(200, body, Content_Type="application/xml")


@contextmanager
def serving_bucket():
    """A bucket named `bucket`; `environ` says how it is reached."""
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
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
