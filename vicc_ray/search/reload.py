"""Index that follows its folder: a server keeps running while `vicc-ray index` updates it."""

from __future__ import annotations

from threading import Lock

from vicc_ray.errors import UserError
from vicc_ray.search.reader import SearchIndex


class ReloadingIndex:
    """Index that is reopened when its folder changes; thread-safe.

    A request that calls :meth:`get` once sees one consistent index: the old file stays mapped into memory while it is
    used, and finished parts do not change.
    """

    def __init__(self, index: SearchIndex) -> None:
        self._index, self._lock = index, Lock()

    def get(self) -> SearchIndex:
        """The current index. Costs one stat call, whatever the size of the index.

        Raises:
            UserError: the new index cannot be opened, or has another network or window specification.
        """
        with self._lock:
            if not self._index.is_current():
                self._index = _comparable(self._index.reopened(), self._index)
            return self._index


def _comparable(now: SearchIndex, before: SearchIndex) -> SearchIndex:
    """Check that queries, which are embedded by the first network, can be compared with the new index."""
    if (now.description.fingerprint, now.description.spec) != (before.description.fingerprint, before.description.spec):
        raise UserError(f"the index {now.folder} was rebuilt with other settings; restart `vicc-ray serve`")
    return now
