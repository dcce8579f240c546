"""What the log leaves out."""

import logging
import re

_OPENS = re.compile(r"(/(?:c|join|key|r)/)[^/\s]+")


class WithoutLinks(logging.Filter):
    """Django names the path of what it answers with 5xx, and some paths open something to whoever has them."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_OPENS.sub(r"\1...", arg) if isinstance(arg, str) else arg for arg in record.args)
        return True
