"""Encryption at rest, with keys that rotate: the first key seals, every key opens (Fernet: AES-128-CBC with HMAC)."""

import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class SealError(Exception):
    """What was sealed cannot be opened with any of the keys at hand."""


@lru_cache(maxsize=2)  # all of them, and the newest alone
def _keyring(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key.strip()) for key in keys])
    except ValueError:
        raise SealError(
            "SEAL_KEYS takes Fernet keys with commas between, the newest first; one of them is not 32 bytes in "
            "URL-safe base64"
        ) from None


def seal(plain: str) -> bytes:
    """Encrypt with the newest key of `SEAL_KEYS`."""
    return _keyring(tuple(settings.SEAL_KEYS)).encrypt(plain.encode())


def unseal(sealed: bytes | memoryview) -> str:
    """Decrypt with whichever key of `SEAL_KEYS` fits; raises SealError when none does."""
    try:
        return _keyring(tuple(settings.SEAL_KEYS)).decrypt(bytes(sealed)).decode()
    except InvalidToken:
        raise SealError("no key of SEAL_KEYS opens this secret; put back the key it was sealed with") from None


def reseal(sealed: bytes | memoryview) -> bytes:
    """The same secret under the newest key, for rotation; raises SealError when no key opens it."""
    return seal(unseal(sealed))


def newest(sealed: bytes | memoryview) -> bool:
    """Whether it is under the newest key already; False for what no key opens, which `reseal` says."""
    try:
        _keyring(tuple(settings.SEAL_KEYS[:1])).decrypt(bytes(sealed))
    except InvalidToken:
        return False
    return True


def digest(data: bytes) -> str:
    """A keyed digest (BLAKE2b, 128 bits, hex): equal data is recognised, short data cannot be guessed from it."""
    return hashlib.blake2b(data, digest_size=16, key=settings.DIGEST_KEY).hexdigest()
