"""The settings of every hub in the tests: the hub's own, but that a password is hashed quickly."""

from mcphub.settings import *  # noqa: F403 - all of them

PASSWORD_HASHERS = ["tests.hashing.Quick"]
