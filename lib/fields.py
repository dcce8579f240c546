"""Model fields that Django does not have."""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.types.json import Json


class WrittenJSON(models.JSONField):
    """JSON kept as it was written: Postgres' `json`, which keeps the order of keys, instead of `jsonb`, which does not.

    For what people write and models read: the order of a schema's properties is part of how it reads. It cannot be
    compared or searched in the database.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "json"

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        return None if value is None else Json(value)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """psycopg has parsed it already; Django leaves only `jsonb` to its fields."""
        return value
