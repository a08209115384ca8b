"""A local S3 server with its contents in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "videos-of-the-test"


class S3:
    """The bucket :data:`BUCKET` of a server, and addresses in it that pyarrow reads."""

    def __init__(self, host: str, port: int) -> None:
        self.endpoint = f"{host}:{port}"
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self.client: Any = boto3.client("s3", endpoint_url=f"http://{self.endpoint}", **keys)
        self.client.create_bucket(Bucket=BUCKET)

    def address(self, name: str = "", bucket: str = BUCKET) -> str:
        """Address of a folder or file with credentials and endpoint."""
        return f"s3://key:secret@{bucket}/{name}?scheme=http&endpoint_override={self.endpoint}&region=us-east-1"

    def put(self, name: str, content: bytes = b"x") -> None:
        """Store one object."""
        self.client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Store all files of a folder."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())


@contextmanager
def aws_server() -> Iterator[tuple[str, int]]:
    """Run an empty server that behaves like AWS; yield its host and port."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()  # moto keeps the contents of earlier servers in this process
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        yield host, port
    finally:
        server.stop()


@contextmanager
def s3_server() -> Iterator[S3]:
    """Run a server with an empty bucket."""
    with aws_server() as address:
        yield S3(*address)
