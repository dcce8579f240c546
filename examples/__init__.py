"""Things to point the hub at."""
