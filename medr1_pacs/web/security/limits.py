"""How fast passwords may be guessed, without a way to lock others out.

    known device of the account    a bucket of its own, whoever else guesses
    else                           one of the address and the name, and one of the address

There is no lock of an account: it would be somebody else's to close. In memory, of one process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

IPV6_PREFIX = 64
"""Bits that one customer has; the rest is theirs to change at will."""
BUCKETS_MAX = 10_000
VERIFICATIONS_AT_ONCE = 2
"""Each takes 64 MiB and a processor: guessers wait for each other, pages for nobody."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and one more each so many seconds."""

    at_once: int
    every_s: float


PER_NAME = Rate(10, 5.0)
PER_ADDRESS = Rate(100, 1.0)


class Buckets:
    """Token buckets by key; of too many, the one that was not asked for the longest is forgotten.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(
        self, rate: Rate, clock: Callable[[], float], buckets_max: int = BUCKETS_MAX
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets_max = buckets_max
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_s(self, key: Hashable) -> float:
        """Return the seconds until one may be taken; 0: now."""
        missing_s = max(0.0, self._full_at.get(key, 0.0) - self._clock())
        return max(0.0, missing_s - (self._rate.at_once - 1) * self._rate.every_s)

    def take(self, key: Hashable) -> None:
        # A bucket is known by when it is full again: that needs no clock of its own.
        full_at = max(self._full_at.pop(key, 0.0), self._clock()) + self._rate.every_s
        self._full_at[key] = full_at
        if len(self._full_at) > self._buckets_max:
            self._full_at.popitem(last=False)


class SignInLimits:
    """Says when somebody may try a password."""

    def __init__(self, clock: Callable[[], float], buckets_max: int = BUCKETS_MAX) -> None:
        self._lock = threading.Lock()
        self._devices = Buckets(PER_NAME, clock, buckets_max)
        self._names = Buckets(PER_NAME, clock, buckets_max)
        self._addresses = Buckets(PER_ADDRESS, clock, buckets_max)

    def admit(self, address: str, account: str, known_device: str | None) -> float:
        """Take one attempt and return 0, or return the seconds to wait and take none."""
        network = network_of(address)
        asked: list[tuple[Buckets, Hashable]] = [
            (self._names, (network, account)),
            (self._addresses, network),
        ]
        if known_device is not None:
            asked = [(self._devices, (account, known_device))]
        with self._lock:
            wait_s = max(buckets.wait_s(key) for buckets, key in asked)
            if wait_s == 0:
                for buckets, key in asked:
                    buckets.take(key)
            return wait_s


def network_of(address: str) -> str:
    """Return what one guesser cannot change: an IPv4 address, or an IPv6 network."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)))
