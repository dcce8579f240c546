"""`python -m tests.reliability.furnish`: four tenants with tools and keys in a migrated database, as JSON.

A process of its own, as Django serves one database only. The hub's environment names it.
"""

import json
import os
import sys

import django

TOOLS = {"again": "leave_a_mark", "once": "leave_a_mark", "once_in_a_thread": "leave_a_mark_in_a_thread"}
"""Name of the tool -> its function. What is called `again` is idempotent, the others are not."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    django.setup()
    from tests.cast import Cast

    opened = []
    casts = Cast(), Cast()
    for tenant, user, cast in [(c.acme, c.uma, c) for c in casts] + [(c.beta, c.bob, c) for c in casts]:
        for name, function in TOOLS.items():
            cast.tool(
                tenant,
                name,
                config={"function": function},
                read_only=False,
                idempotent=name == "again",
                runs="background",
                most_attempts=10,
                replay_seconds=3600,
                timeout=60,
            )
        opened.append({"slug": tenant.slug, "key": cast.key(user, tenant)[1]})
    sys.stdout.write(json.dumps(opened))


if __name__ == "__main__":
    main()
