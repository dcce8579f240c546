"""Breaking the hub on purpose, to see that a run notices: `make chaos ARGS="--sabotage doubling"` must fail."""

import psycopg

KINDS = ("doubling", "losing", "sticking")

_LOSE = """
CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM jobs_job WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER sabotage AFTER UPDATE ON jobs_job FOR EACH ROW
    WHEN (OLD.state = 'running' AND NEW.state = 'queued') EXECUTE FUNCTION sabotage();
"""


def commit(kind: str, owner_url: str) -> None:
    """doubling: what has begun is always run again. losing: a job that goes back to the queue vanishes. sticking: a
    dead worker's job is never found."""
    with psycopg.connect(owner_url) as conn:
        if kind == "losing":
            conn.execute(_LOSE)
        elif kind == "doubling":
            _rewrite(conn, "jobs_sweep", "(d.idempotent OR d.upstream IS NOT NULL)", "true")
        else:
            _rewrite(conn, "jobs_sweep", "d.lease_until < moment FOR", "false FOR")


def _rewrite(conn: psycopg.Connection[tuple[str]], function: str, was: str, becomes: str) -> None:
    row = conn.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", [function]).fetchone()
    assert row is not None
    assert was in row[0], f"{function} reads differently now: mend this sabotage"
    conn.execute(row[0].replace(was, becomes).encode())
