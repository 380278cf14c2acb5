"""Parts of a message that show an image or a video."""

import base64


def shows(url, kind="image_url", **more):
    return {"type": kind, kind: {"url": url, **more}}


def asks(*parts):
    return {"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": list(parts)}]}


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))


def as_url(kind, content):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
