"""Ed25519 signatures (RFC 8032 5.1), verified only: there is no secret here that time could tell.

Only the standard library is imported: a verifier that stands alone carries a copy of this file.
Signing is left to a library that keeps its time constant.
"""

from __future__ import annotations

import hashlib

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
"""The order of the base point."""
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_1 = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""Extended homogeneous coordinates X, Y, Z, T: x = X/Z, y = Y/Z, x * y = T/Z (5.1.4)."""
_NEUTRAL: _Point = (0, 1, 1, 0)
_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE_Y = 4 * pow(5, -1, _P) % _P
_BASE: _Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature of a message was made with the private key of a public one.

    As strict as may be: every number in its one encoding, and the equation without the cofactor.
    A public key of small order is refused, since with it some signatures fit every message.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    key = _decode(public_key)
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= _L or _has_small_order(key):
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    k = int.from_bytes(digest, "little") % _L
    # R = [S]B - [k]A (5.1.7), compared as bytes: so R is a point, and encoded as it must be.
    return _encode(_sum_of_multiples(s, _BASE, k, _negative(key))) == signature[:32]


def _decode(encoded: bytes) -> _Point | None:
    """Return the point of an encoding (5.1.3), None where it is of none or not canonical."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P != u:
        x = x * _ROOT_OF_MINUS_1 % _P
        if v * x * x % _P != u:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: _Point) -> bytes:
    """Return the encoding of a point (5.1.2)."""
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    x, y = x * inverse % _P, y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _add(a: _Point, b: _Point) -> _Point:
    """Return the sum of any two points, equal ones too (5.1.4)."""
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    minus = (y1 - x1) * (y2 - x2) % _P
    plus = (y1 + x1) * (y2 + x2) % _P
    t = 2 * _D * t1 * t2 % _P
    z = 2 * z1 * z2 % _P
    e, f, g, h = plus - minus, z - t, z + t, plus + minus
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(a: _Point) -> _Point:
    """Return the sum of a point and itself, in fewer steps (5.1.4)."""
    x, y, z, _ = a
    xx, yy = x * x % _P, y * y % _P
    h = xx + yy
    e = h - (x + y) ** 2 % _P
    g = xx - yy
    f = 2 * z * z % _P + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _negative(a: _Point) -> _Point:
    x, y, z, t = a
    return _P - x, y, z, _P - t


def _sum_of_multiples(m: int, a: _Point, n: int, b: _Point) -> _Point:
    """Return [m]a + [n]b, doubling once for both."""
    both = _add(a, b)
    result = _NEUTRAL
    for bit in range(max(m.bit_length(), n.bit_length()) - 1, -1, -1):
        result = _double(result)
        in_m, in_n = m >> bit & 1, n >> bit & 1
        if in_m and in_n:
            result = _add(result, both)
        elif in_m:
            result = _add(result, a)
        elif in_n:
            result = _add(result, b)
    return result


def _has_small_order(a: _Point) -> bool:
    """Whether eight times a point is the neutral one."""
    x, y, z, _ = _double(_double(_double(a)))
    return x == 0 and y == z
