"""The parent of the header child."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medr1_pacs.errors import InstanceUnreadable, StorageUnavailable
from medr1_pacs.guarded.parent import ChildFailed, ChildTimedOut, GuardedChild, ReadBytes
from medr1_pacs.headers import HeaderValues


class HeaderReader:
    """Reads headers in one guarded child; safe to use from several threads, which take turns.

    Parameters
    ----------
    memory_bytes
        Address space of the child; Python and pydicom take some 0.2 GiB of it.
    timeout_s
        Longest time for one header. That of the largest honest object (a whole slide with an item a
        tile) takes some seconds.
    """

    def __init__(self, *, memory_bytes: int = 1 << 30, timeout_s: float = 30.0) -> None:
        self._child = GuardedChild(
            "medr1_pacs.parsing.child", "parser", memory_bytes=memory_bytes, timeout_s=timeout_s
        )
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        self._child.stop()

    def read(self, path: Path, *, is_last_try: bool = True) -> HeaderValues:
        """Return what the header of a file says.

        Raises
        ------
        InstanceUnreadable
            It does not parse, or its parser died or grew, twice, or took too long on the last try.
        StorageUnavailable
            The file cannot be read, or not in time.
        TransientError
            No child can be started.
        """
        request = {"path": str(path.absolute())}
        with self._lock:
            try:
                return self._ask(request)
            except ChildTimedOut as error:  # a share that stands still, or a hostile header
                if not is_last_try:
                    raise StorageUnavailable(f"its header was not read in time: {error}") from error
                raise _unreadable(error) from error
            except ChildFailed as error:
                raise _unreadable(error) from error

    def _ask(self, request: dict[str, Any]) -> HeaderValues:
        try:
            return self._child.ask(request, _understand)
        except ChildTimedOut:
            raise
        except ChildFailed:  # once may be the kernel's memory killer
            return self._child.ask(request, _understand)


def _unreadable(error: ChildFailed) -> InstanceUnreadable:
    return InstanceUnreadable(f"the data set does not parse: {error}")


def _understand(reply: dict[str, Any], _read_bytes: ReadBytes) -> HeaderValues:
    if "unavailable" in reply:
        raise StorageUnavailable(f"a received file cannot be read: {reply['unavailable']}")
    if "error" in reply:
        raise InstanceUnreadable(f"the data set does not parse: {reply['error']}")
    return HeaderValues(**reply)
