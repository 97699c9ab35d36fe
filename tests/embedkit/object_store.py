"""An object store on this machine, and what one does on a bad day."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

KEY, SECRET = "AKIAEXAMPLEEXAMPLE", "wJalrXUtnFEMIexampleSECRETkey"
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"


class ObjectStore:
    """moto's S3, served from a thread, with a door that can be shut.

    Attributes
    ----------
    refuse_every
        Which share of all requests is answered with "slow down": every n-th; 0 for none.
    forbidden
        Buckets that nobody may read.
    requests
        Method and path of every request.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._door, threaded=True)
        self._count = itertools.count(1)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.reset()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def reset(self) -> None:
        self.refuse_every = 0
        self.forbidden: set[str] = set()
        self.requests: list[str] = []
        self.refused = 0
        self.before: Callable[[str], None] = lambda _: None

    def _door(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        line = f"{environ['REQUEST_METHOD']} {path}"
        self.requests.append(line)
        self.before(line)
        if self.refuse_every and next(self._count) % self.refuse_every == 0:
            self.refused += 1
            return _answer(environ, start, "503 Slow Down", "SlowDown", "Please reduce your request rate.")
        if path.strip("/").partition("/")[0] in self.forbidden:
            return _answer(environ, start, "403 Forbidden", "AccessDenied", "Access Denied")
        return self._app(environ, start)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, bucket: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return sorted(one["Key"] for one in found)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.client.close()


def _answer(
    environ: dict[str, Any], start: Callable[..., Any], status: str, code: str, text: str
) -> list[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start(status, [("Content-Type", "application/xml")])
    return [_ERROR.format(code=code, message=text).encode()]
