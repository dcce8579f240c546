"""A process of the hub that is killed in mid-call: prints its instance id once the call is recorded as started."""

import asyncio
import os
import sys

import django


async def main(slug: str, secret: str) -> None:
    from access.admit import admit
    from audit.entries import instance
    from mcphub.lifespan import lifespan
    from tools import calls
    from tools.catalog import catalog
    from tools.values import Origin

    class Report:
        """Progress comes from inside the function, so by then the started entry is durable."""

        async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
            sys.stdout.write(f"{instance()}\n")
            sys.stdout.flush()

        async def log(self, level: str, data: object) -> None: ...

    async with lifespan():
        door = await admit(slug, secret)
        assert door is not None
        assert door.caller is not None
        offered = await catalog(door.tenant_id, door.catalog_version)
        arguments = {"steps": 1000, "seconds": 300.0}
        await calls.run(
            door.caller, "count_slowly", arguments, catalog=offered, origin=Origin(via="mcp"), report=Report()
        )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    django.setup()
    asyncio.run(main(sys.argv[1], sys.argv[2]))
