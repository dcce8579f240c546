"""`python -m examples.helpdesk --port N --data FILE`"""

import argparse
import logging
import os
import sys
from pathlib import Path

from aiohttp import web

from examples.helpdesk.app import make_app
from examples.helpdesk.store import DataFileError, Store

_log = logging.getLogger("helpdesk")


def main() -> int:
    """Serve until SIGINT or SIGTERM; the exit code."""
    arguments = _arguments()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app = make_app(Store(arguments.data), token=arguments.token, report_seconds=arguments.report_seconds)
        web.run_app(app, host=arguments.host, port=arguments.port, print=None, access_log=None, shutdown_timeout=2.0)
    except (DataFileError, OSError) as problem:
        _log.error("The help desk cannot run: %s", problem)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.helpdesk", description="A small help desk.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--data", type=Path, default=Path("helpdesk.json"), help="created with sample tickets")
    parser.add_argument("--token", default=os.environ.get("HELPDESK_TOKEN", ""), help="or HELPDESK_TOKEN; empty: none")
    parser.add_argument("--report-seconds", type=float, default=10.0, help="how long a report takes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
