"""A hash of passwords that takes no time, as people sign in all day here: nobody's real password meets it."""

from mcphub.passwords import Hasher


class Quick(Hasher):
    """The hub's own hash in all but the number of its rounds."""

    iterations = 1000
