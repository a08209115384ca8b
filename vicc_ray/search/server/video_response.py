"""Response that streams an already opened video file, whatever its path points to now."""

from __future__ import annotations

import mimetypes
import os
from typing import BinaryIO

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send


class VideoResponse(FileResponse):
    """Response with the whole file or a range; closes the file at the end.

    Args:
        file: video, opened for reading.
        name: file name for saving; its suffix determines the media type.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        kind = mimetypes.guess_type(name)[0] or ""
        known = kind if kind.startswith("video/") else "application/octet-stream"
        about, path = os.fstat(file.fileno()), f"/dev/fd/{file.fileno()}"
        super().__init__(path, media_type=known, stat_result=about, content_disposition_type="inline", filename=name)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
