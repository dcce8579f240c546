"""Jobs: calls that outlive the request that asked for them. The row is the truth, Celery only rings a bell."""
