"""JSON Schema 2020-12: compile once, check fast, and say what is wrong so that a model can mend it.

Schemas and instances both come from strangers. Nothing is fetched, patterns match in linear time, and depth, size and
the work a schema can cause are bounded when it is compiled. `format` is asserted.
"""

from lib.schema.compiler import SchemaError, compile_schema
from lib.schema.validator import Problem, Validator

__all__ = ["Problem", "SchemaError", "Validator", "compile_schema"]
