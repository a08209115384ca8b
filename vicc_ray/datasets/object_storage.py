"""Files in object storage, at any address that pyarrow supports (s3://, gs://, hdfs://, ...).

Credentials, region and endpoint come from where pyarrow looks for them: the address (``s3://KEY:SECRET@bucket/prefix``,
``?endpoint_override=HOST:PORT&scheme=http&region=R``), the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, ...), configuration files of the cloud's tools, or the role of the
machine. On a cluster every machine needs them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any
from urllib.parse import quote

import pyarrow.fs as arrow
from pyarrow import ArrowException

from vicc_ray.errors import UserError
from vicc_ray.utils.cleartext import is_cleartext
from vicc_ray.utils.local_paths import without_secrets
from vicc_ray.utils.log import LOG

LISTING_TRIES = 3
"""Requests to S3 before a listing fails: 10 s without an answer, instead of 100 s by pyarrow's default."""
GCS_LISTING_S, GCS_DOWNLOAD_S = 5, 60
"""Seconds of retries with Google Cloud Storage; pyarrow's default is 15 minutes."""
PATH_CHARACTERS = "/:@!$&'()*+,;="
"""Characters allowed in the path of an address besides letters, digits and ``-._~``."""
CHUNK = 8 * 2**20
"""Bytes of a remote file that are in memory at a time."""


class UnreadableFileError(Exception):
    """A file cannot be read now, which may be temporary; the message is one line."""


@dataclass(frozen=True)
class RemotePath:
    """Remote file or folder ``name`` below the address ``root``; ``str()`` gives its address without secrets.

    Attributes:
        size: bytes, from a listing; None if it was in no listing.
        mtime_ns: modification time, from a listing.
    """

    root: str
    name: str = ""
    size: int | None = None
    mtime_ns: int = 0

    def __str__(self) -> str:
        address, query, options = without_secrets(self.root).partition("?")
        return f"{address.rstrip('/')}/{self.name}".rstrip("/") + query + options

    @property
    def file_name(self) -> str:
        """Last part of the path."""
        path = self.name or self.root.partition("?")[0]
        return path.rstrip("/").rpartition("/")[2]

    def below(self, name: str) -> RemotePath:
        """Path of ``name`` in this folder, without size and mtime."""
        return RemotePath(self.root, f"{self.name}/{name}" if self.name else name)

    def is_folder(self) -> bool:
        """Whether there are files below it; UserError if the storage cannot be read."""
        with _user_errors(self):
            file_system, path = self._open()
            return bool(file_system.get_file_info(path).type == arrow.FileType.Directory)

    def files(self, recursive: bool) -> list[RemotePath]:
        """Files of this folder, in one listing; UserError if there are none or they cannot be listed."""
        with _user_errors(self):
            file_system, path = self._open()
            listing = file_system.get_file_info(arrow.FileSelector(path, recursive=recursive))
        start = len(path) - len(self.name)  # names are relative to the root
        return [
            RemotePath(self.root, file.path[start:].lstrip("/"), file.size, file.mtime_ns or 0)
            for file in listing
            if file.type == arrow.FileType.File
        ]

    def read(self) -> bytes:
        """Content of a small file; UserError if it cannot be read."""
        with _user_errors(self):
            file_system, path = self._open()
            with file_system.open_input_stream(path) as stream:
                return bytes(stream.read())

    def download(self, target: IO[bytes]) -> None:
        """Copy the file to ``target`` in one streamed request.

        Raises:
            UnreadableFileError: it does not exist, or cannot be read.
        """
        try:
            file_system, path = self._open(patient=True)
            with file_system.open_input_stream(path) as stream:
                shutil.copyfileobj(stream, target, CHUNK)
            target.flush()
        except FileNotFoundError:
            raise UnreadableFileError("no such file") from None
        except (OSError, ArrowException) as error:
            raise UnreadableFileError(f"cannot be downloaded ({_one_line(error)})") from None

    def _open(self, patient: bool = False) -> tuple[arrow.FileSystem, str]:
        """File system and path; ``patient`` retries longer, for requests that should survive an outage."""
        file_system, path = _file_system(self.root, patient)
        return file_system, f"{path.rstrip('/')}/{self.name}" if self.name else path


@lru_cache(maxsize=8)
def _file_system(root: str, patient: bool) -> tuple[arrow.FileSystem, str]:
    if root.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in root:
        root += f"{'&' if '?' in root else '?'}retry_limit_seconds={GCS_DOWNLOAD_S if patient else GCS_LISTING_S}"
    file_system, path = arrow.FileSystem.from_uri(parsable(root))
    if not patient and isinstance(file_system, arrow.S3FileSystem):
        # An address has no word for patience; what pickles the file system knows how to make it again.
        make, (options,) = file_system.__reduce__()
        if is_cleartext(_endpoint(options)):
            LOG.warning(
                "%s: the connection is not encrypted, so others can read and change the files. Use an https endpoint",
                without_secrets(root),
            )
        file_system = make({**options, "retry_strategy": arrow.AwsStandardS3RetryStrategy(max_attempts=LISTING_TRIES)})
    return file_system, path


def _endpoint(options: dict[str, Any]) -> str:
    """Endpoint of an S3 file system with its scheme; "" for Amazon's."""
    named = (os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    endpoint = next(filter(None, (options["endpoint_override"], *named)), "")
    return endpoint if "://" in endpoint or not endpoint else f"{options['scheme'] or 'https'}://{endpoint}"


@contextmanager
def _user_errors(location: RemotePath) -> Iterator[None]:
    """Convert errors of pyarrow to UserError."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{location} does not exist: no file and no folder with files; check bucket and path") from None
    except (OSError, ValueError, ArrowException) as error:
        raise UserError(
            f"{location} cannot be read: {_one_line(error)}; check the address, the credentials (for s3: "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or s3://KEY:SECRET@BUCKET/...; for gs: "
            "GOOGLE_APPLICATION_CREDENTIALS) and the endpoint (AWS_ENDPOINT_URL, or ?endpoint_override=HOST:PORT); "
            "write a ? in the path as %3F, and a % before two digits as %25"
        ) from None


def _one_line(error: Exception) -> str:
    return without_secrets(" ".join(str(error).split()).split("; Details:")[0].split(" error_info=")[0])


def parsable(address: str) -> str:
    """Address as pyarrow parses it: characters that a URI does not allow (spaces, accents, #) are percent-encoded.

    A % before two hexadecimal digits is kept as an encoded character. Options follow after a ?.
    """
    scheme, _, rest = address.partition("://")
    secret = re.match(r"([^/@\s:]+:)(?!\d+/)([^@\s]*)@", rest)
    credentials = f"{secret[1]}{_quoted(secret[2], '')}@" if secret else ""
    path, question, options = rest[secret.end() if secret else 0 :].partition("?")
    scheme = "s3" if scheme.lower() in ("s3a", "s3n") else scheme.lower()
    return (
        f"{scheme}://{credentials}{_quoted(path, PATH_CHARACTERS)}{question}{_quoted(options, PATH_CHARACTERS + '?')}"
    )


def _quoted(text: str, allowed: str) -> str:
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text), safe=f"%{allowed}")
