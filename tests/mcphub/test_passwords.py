"""What keeps the password of a person who runs a hub; the tests' own hubs hash less."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.test import override_settings

from mcphub import settings


def test_a_password_is_hashed_in_as_many_rounds_as_django_advises() -> None:
    with override_settings(PASSWORD_HASHERS=settings.PASSWORD_HASHERS):
        algorithm, rounds, *_ = make_password("correct horse battery staple").split("$")
    assert (algorithm, int(rounds)) == ("pbkdf2_sha256", PBKDF2PasswordHasher.iterations)
    assert int(rounds) >= 1_000_000
