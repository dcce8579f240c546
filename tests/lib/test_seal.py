"""Sealing: the newest key seals, every key opens, and losing a key is said in a sentence."""

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings

from lib import seal

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


def keys(*given: str) -> override_settings:
    return override_settings(SEAL_KEYS=list(given))


def test_what_is_sealed_opens_again_and_shows_nothing() -> None:
    with keys(NEW):
        sealed = seal.seal("hunter2 ü")
        assert b"hunter2" not in sealed
        assert seal.unseal(sealed) == "hunter2 ü"
        assert seal.unseal(memoryview(sealed)) == "hunter2 ü"
        assert seal.seal("hunter2 ü") != sealed


def test_keys_rotate() -> None:
    with keys(OLD):
        sealed = seal.seal("hunter2")
    with keys(NEW, OLD):
        assert seal.unseal(sealed) == "hunter2"
        moved = seal.reseal(sealed)
    with keys(NEW):
        assert seal.unseal(moved) == "hunter2"
        with pytest.raises(seal.SealError):
            seal.unseal(sealed)


def test_what_is_under_the_newest_key_is_told_from_what_is_not() -> None:
    with keys(OLD):
        sealed = seal.seal("hunter2")
        assert seal.newest(sealed)
    with keys(NEW, OLD):
        assert not seal.newest(sealed)
        assert seal.newest(memoryview(seal.reseal(sealed)))
    assert not seal.newest(b"nonsense")


@pytest.mark.parametrize("open_", [seal.unseal, seal.reseal])
def test_a_secret_of_another_key_says_what_to_do(open_: object) -> None:
    with keys(OLD):
        sealed = seal.seal("hunter2")
    with keys(OTHER), pytest.raises(seal.SealError, match="put back the key it was sealed with"):
        open_(sealed)  # type: ignore[operator]


@pytest.mark.parametrize("damaged", [b"", b"nonsense", b"gAAAAA"])
def test_what_is_damaged_does_not_open(damaged: bytes) -> None:
    with keys(NEW), pytest.raises(seal.SealError):
        seal.unseal(damaged)


@pytest.mark.parametrize("wrong", ["", "short", "ü" * 44, NEW[:-4]], ids=["none", "short", "not ASCII", "cut"])
def test_a_key_that_is_none_is_said_in_a_sentence_without_the_key(wrong: str) -> None:
    with keys(NEW, wrong), pytest.raises(seal.SealError, match="SEAL_KEYS takes Fernet keys") as refused:
        seal.seal("hunter2")
    assert NEW not in str(refused.value)


def test_blanks_around_keys_do_no_harm() -> None:
    with keys(NEW, f" {OLD} "):
        sealed = seal.seal("hunter2")
    with keys(NEW):
        assert seal.unseal(sealed) == "hunter2"


def test_a_digest_depends_on_the_data_and_on_the_key() -> None:
    one = seal.digest(b"1234")
    assert one == seal.digest(b"1234")
    assert len(one) == 32
    assert one != seal.digest(b"1235")
    with override_settings(DIGEST_KEY=b"another"):
        assert one != seal.digest(b"1234")
