"""Words the description lint knows: verbs that tools start with, words that say nothing, and names that are taken."""

READS = frozenset(
    """
    analyze calculate check compare compute convert count describe detect download estimate evaluate explain export
    fetch find format get inspect list load look lookup measure parse plan predict preview query read render resolve
    search show solve suggest summarize test trace translate validate verify view watch
    """.split()  # noqa: SIM905 - one word to a line would be two screens
)
WRITES = frozenset(
    """
    accept add append apply approve archive assign block book build buy cancel change claim clear clone close comment
    commit complete configure confirm connect copy create deactivate delete deploy disable drop edit email enable end
    enqueue execute extend file fill finish fix generate grant hide import insert install invite invoke issue join
    launch leave link lock log mark merge migrate modify move notify open order pause pay ping post publish purge push
    put queue record refund reject release remove rename reopen replace reply report request reset resolve restart
    restore resume retry revoke rotate run save schedule send set share sign split start stop submit subscribe sync
    tag transfer trigger undo unlock unsubscribe update upload upsert write
    """.split()  # noqa: SIM905
)
DELETES = frozenset("clear delete drop purge remove replace reset revoke".split())  # noqa: SIM905
RESERVED = frozenset({"get_job_status", "get_job_result", "cancel_job"})
"""The hub's own tools, with which hosts follow jobs: a tenant's tool of such a name could never be called."""
COMMON = frozenset(
    """
    a an and are as at be by can do for from has have if in into is it its no not of on one only or out so than that
    the their them then there this to use used using was when which who will with without you your
    """.split()  # noqa: SIM905
)
