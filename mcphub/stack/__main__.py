"""`python -m mcphub.stack run`, started in the clone."""

import argparse
import sys
from pathlib import Path

from mcphub.stack.config import from_environment
from mcphub.stack.processes import end_with_parent
from mcphub.stack.run import run


def main() -> int:
    """The exit code: 0 after a stop that was asked for, 1 after a sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m mcphub.stack", description="The hub on one machine.")
    parser.add_argument("command", choices=["run"], help="start everything, and stop it on Ctrl-C")
    parser.add_argument("--with-parent", action="store_true", help="also stop when the starting process ends")
    if parser.parse_args().with_parent:
        end_with_parent()
    return run(lambda: from_environment(Path.cwd()))


if __name__ == "__main__":
    sys.exit(main())
