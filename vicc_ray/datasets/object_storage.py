"""Files at an address that pyarrow knows (s3://, gs://, hdfs://, ...).

Credentials, region and endpoint come from where pyarrow looks for them: the address (``s3://KEY:SECRET@bucket/prefix``,
``?endpoint_override=HOST:PORT&scheme=http&region=R``), the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, ...), the files of the cloud's own tools, the machine's role. On a
cluster every machine needs them.
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
from vicc_ray.utils.cleartext import is_in_clear
from vicc_ray.utils.local_paths import without_secrets
from vicc_ray.utils.log import LOG

LISTING_TRIES = 3
"""Requests to S3 before a listing is given up: ten seconds where nobody answers, against 100 by pyarrow's own way."""
GCS_LISTING_S, GCS_FETCH_S = 5, 60
"""The same for Google's storage, in seconds; pyarrow's own limit is a quarter of an hour."""
IN_A_PATH = "/:@!$&'()*+,;="
"""What may stand in the path of an address beside letters, digits and ``-._~``."""
CHUNK = 8 * 2**20
"""Bytes of a remote file that are held at once."""


class UnreadableFileError(Exception):
    """A remote file could not be fetched, perhaps only now; the message is one line of plain words."""


@dataclass(frozen=True)
class RemotePath:
    """A file or folder ``name`` below the address ``root``; size and time as a listing told them, None where none did.

    The text of it is its address without secrets.
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
        """The last part of it."""
        path = self.name or self.root.partition("?")[0]
        return path.rstrip("/").rpartition("/")[2]

    def below(self, name: str) -> RemotePath:
        """The place ``name`` in this folder, of which nothing is known without a listing."""
        return RemotePath(self.root, f"{self.name}/{name}" if self.name else name)

    def is_folder(self) -> bool:
        """Whether files lie below it; UserError where that cannot be asked."""
        with _told(self):
            file_system, path = self._open()
            return bool(file_system.get_file_info(path).type == arrow.FileType.Directory)

    def files(self, recursive: bool) -> list[RemotePath]:
        """What lies in this folder, in one listing; UserError where nothing does or it cannot be listed."""
        with _told(self):
            file_system, path = self._open()
            found = file_system.get_file_info(arrow.FileSelector(path, recursive=recursive))
        start = len(path) - len(self.name)  # names are below the root
        return [
            RemotePath(self.root, file.path[start:].lstrip("/"), file.size, file.mtime_ns or 0)
            for file in found
            if file.type == arrow.FileType.File
        ]

    def read(self) -> bytes:
        """The content of a small file; UserError where it cannot be had."""
        with _told(self):
            file_system, path = self._open()
            with file_system.open_input_stream(path) as stream:
                return bytes(stream.read())

    def fetch(self, to: IO[bytes]) -> None:
        """Copy the file in one streamed read.

        Raises:
            Unreadable: it is not there, or cannot be read.
        """
        try:
            file_system, path = self._open(patient=True)
            with file_system.open_input_stream(path) as stream:
                shutil.copyfileobj(stream, to, CHUNK)
            to.flush()
        except FileNotFoundError:
            raise UnreadableFileError("no such file") from None
        except (OSError, ArrowException) as error:
            raise UnreadableFileError(f"cannot be fetched ({_one_line(error)})") from None

    def _open(self, patient: bool = False) -> tuple[arrow.FileSystem, str]:
        """The file system, and the path there; patient where a run should outlast a disturbance."""
        file_system, path = _file_system(self.root, patient)
        return file_system, f"{path.rstrip('/')}/{self.name}" if self.name else path


@lru_cache(maxsize=8)
def _file_system(root: str, patient: bool) -> tuple[arrow.FileSystem, str]:
    if root.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in root:
        root += f"{'&' if '?' in root else '?'}retry_limit_seconds={GCS_FETCH_S if patient else GCS_LISTING_S}"
    file_system, path = arrow.FileSystem.from_uri(parsable(root))
    if not patient and isinstance(file_system, arrow.S3FileSystem):
        # An address has no word for patience; what pickles the file system knows how to make it again.
        make, (options,) = file_system.__reduce__()
        if is_in_clear(_endpoint(options)):
            LOG.warning(
                "%s: files come as they are; whoever is on the way can read and change them. Use one with https",
                without_secrets(root),
            )
        file_system = make({**options, "retry_strategy": arrow.AwsStandardS3RetryStrategy(max_attempts=LISTING_TRIES)})
    return file_system, path


def _endpoint(options: dict[str, Any]) -> str:
    """What a file system of S3 asks, with its scheme; "" where it is Amazon's own."""
    named = (os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    endpoint = next(filter(None, (options["endpoint_override"], *named)), "")
    return endpoint if "://" in endpoint or not endpoint else f"{options['scheme'] or 'https'}://{endpoint}"


@contextmanager
def _told(location: RemotePath) -> Iterator[None]:
    """Phase pyarrow's errors into the user's."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"nothing at {location}: no file and no folder with files; look at bucket and path") from None
    except (OSError, ValueError, ArrowException) as error:
        raise UserError(
            f"{location} cannot be read: {_one_line(error)}; look at the address, the credentials (for s3: "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or s3://KEY:SECRET@BUCKET/...; for gs: "
            "GOOGLE_APPLICATION_CREDENTIALS) and the endpoint (AWS_ENDPOINT_URL, or ?endpoint_override=HOST:PORT); a ? "
            "that belongs to the path is written %3F, and a % before two digits %25"
        ) from None


def _one_line(error: Exception) -> str:
    return without_secrets(" ".join(str(error).split()).split("; Details:")[0].split(" error_info=")[0])


def parsable(address: str) -> str:
    """The address as pyarrow reads it: what may not stand in one (blanks, accents, #) is written as %XX.

    A % before two hexadecimal digits is such a writing already, and what follows a ? are options.
    """
    scheme, _, rest = address.partition("://")
    secret = re.match(r"([^/@\s:]+:)(?!\d+/)([^@\s]*)@", rest)
    who = f"{secret[1]}{_quoted(secret[2], '')}@" if secret else ""
    path, question, options = rest[secret.end() if secret else 0 :].partition("?")
    scheme = "s3" if scheme.lower() in ("s3a", "s3n") else scheme.lower()
    return f"{scheme}://{who}{_quoted(path, IN_A_PATH)}{question}{_quoted(options, IN_A_PATH + '?')}"


def _quoted(text: str, allowed: str) -> str:
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text), safe=f"%{allowed}")
