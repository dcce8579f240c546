"""A tool as the catalog has it, without the database and without a way to run it."""

from typing import Any

from lib.schema import compile_schema
from policy.values import Subject
from tools.catalog import LiveTool


def tool(*, takes: Any = None, gives: Any = None, **fields: Any) -> LiveTool:
    plain: dict[str, Any] = {
        "name": "t",
        "number": 1,
        "manifest": {},
        "subject": Subject(name="t", scopes=frozenset()),
        "hidden": frozenset(),
        "mirrored": False,
        "kind": "function",
        "config": None,
        "connection": None,
        "timeout": 1.0,
        "max_result": 1000,
        "idempotent": False,
    }
    schemas = {
        "input": compile_schema(takes or {"type": "object"}),
        "output": compile_schema(gives) if gives is not None else None,
    }
    return LiveTool(**{**plain, **schemas, **fields})
