"""How long a child that ended waits until it is started again. Pure."""

from __future__ import annotations

from medr1_pacs.processes import DEVICE_BROKEN

STEADY_S = 15.0
"""Who lived longer is started again at once."""
WAIT_MAX_S = 30.0
DEVICE_WAIT_MAX_S = 300.0
GOOD_SETTINGS_S = 60.0
"""How long a process has lived whose settings were good. On a busy machine it takes a quarter of a
minute to begin, before it can say that they are not."""
DEVICE_STEADY_S = 600.0
"""A device that works for so long is taken to be sound again."""
_FIRST_WAIT_S = 1.0


class RestartWaits:
    """The waits of one child: each is double the one before, as long as it does not keep running.

    A broken device has waits of its own. A process that meets one may live for minutes, loading
    weights, before it notices: by how long it lived, every start would look like a good one.
    """

    def __init__(self) -> None:
        self._wait_s = _FIRST_WAIT_S
        self._device_wait_s = 0.0

    def next_wait_s(self, status: int, lived_s: float) -> float:
        """Return the seconds until the next start of a child that ended so, after so long."""
        if lived_s > DEVICE_STEADY_S:
            self._device_wait_s = 0.0
        if status == DEVICE_BROKEN:
            doubled_s = max(_FIRST_WAIT_S, self._device_wait_s * 2)
            self._device_wait_s = min(doubled_s, DEVICE_WAIT_MAX_S)
            return self._device_wait_s
        is_steady = lived_s > STEADY_S
        self._wait_s = _FIRST_WAIT_S if is_steady else min(self._wait_s * 2, WAIT_MAX_S)
        return self._wait_s
