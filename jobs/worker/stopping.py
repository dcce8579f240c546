"""What a stopping worker has left when JOBS_DRAIN is over, in seconds; each is the one before and some time for it."""

ASKED_AFTER = 6.0
"""A tool that cannot be handed back is asked to stop; one that can was asked at once."""
SAID_AFTER = ASKED_AFTER + 2.0
"""The process has said how its job ended, whether or not the tool has; a shorter JOBS_GRACE makes it sooner."""
KILLED_AFTER = SAID_AFTER + 1.0
"""Its parent kills it (`mcphub.worker`)."""
GONE_AFTER = KILLED_AFTER + 1.0
"""The parent has ended too: so long is it given by who stops it (`mcphub.stack.run`, and the documents)."""
