#!/usr/bin/env python
"""Django's command line, pointed at the hub's settings and at the running database."""

import os
import sys
from pathlib import Path

NEED_NO_DATABASE = {"help", "version", "--help", "--version", "collectstatic", "findstatic", "makemessages"}


def main() -> None:
    """Without DATABASE_URL, use the embedded Postgres of DATA_DIR, started for this command when it does not run."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    wanted = sys.argv[1] if len(sys.argv) > 1 else "help"
    if not os.environ.get("DATABASE_URL") and wanted not in NEED_NO_DATABASE:
        use_embedded()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


def use_embedded() -> None:
    from mcphub.stack.config import data_dir
    from mcphub.stack.errors import StackError
    from mcphub.stack.postgres import ensure_started
    from mcphub.stack.secret_files import ensure_secrets

    folder = data_dir(Path(__file__).resolve().parent)
    try:
        ensure_secrets(folder)
        postgres = ensure_started(folder)
    except StackError as problem:
        sys.exit(str(problem))
    os.environ["DATABASE_URL"] = postgres.app_url
    os.environ["DATABASE_OWNER_URL"] = postgres.owner_url


if __name__ == "__main__":
    main()
