"""The index of a folder as it is now, for a server that goes on while `vicc-ray index` writes it anew."""

from __future__ import annotations

from threading import Lock

from vicc_ray.errors import UserError
from vicc_ray.search.reader import SearchIndex


class ReloadingIndex:
    """An index that is opened anew once its folder has another; may be used from several threads.

    A request that takes it once sees one index from its begin to its end: the file of the old one stays mapped into
    memory as long as somebody uses it, and finished parts stay as they are.
    """

    def __init__(self, index: SearchIndex) -> None:
        self._index, self._lock = index, Lock()

    def get(self) -> SearchIndex:
        """The index as it is now; to ask is one look at one file, whatever the index holds.

        Raises:
            UserError: what lies there now cannot be opened, or was made with another network or another view.
        """
        with self._lock:
            if not self._index.is_current():
                self._index = _comparable(self._index.reopened(), self._index)
            return self._index


def _comparable(now: SearchIndex, before: SearchIndex) -> SearchIndex:
    """Queries are embedded with the network that was there at the start."""
    if (now.description.fingerprint, now.description.view) != (before.description.fingerprint, before.description.view):
        raise UserError(
            f"the index {now.folder} has been made anew in another way; end `vicc-ray serve` and start it again"
        )
    return now
