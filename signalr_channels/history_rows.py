"""
Many new rows in one statement.

``bulk_create`` takes longer than SQLite takes to write the rows, and every new connection has two. So on SQLite the statement is made
here, and the values go to it without becoming model instances first. Elsewhere ``bulk_create`` does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import connections, models

__all__ = ["Columns", "insert_new"]

Columns = dict[str, Any]
"""Values of a row by the attribute names of its fields, such as ``process_id``."""

UNCHANGED = (models.CharField, models.BooleanField)
"""Fields whose values SQLite takes as they are."""


def insert_new(model: type[models.Model], rows: Sequence[Columns], using: str) -> None:
    """
    Insert rows, but leave out those whose unique columns are there already.

    Args:
        model: Its database makes the primary keys.
        rows: What a row lacks gets the field's default.
        using: The database.

    Raises:
        django.db.Error: Nothing was written, if this is called in a transaction.
    """
    if not rows:
        return
    connection = connections[using]
    if connection.vendor != "sqlite":
        model._base_manager.using(using).bulk_create([model(**row) for row in rows], ignore_conflicts=True)
        return
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column or "") for field in fields)
    places = ", ".join(["%s"] * len(fields))
    # The names are those of our models.
    sql = f"INSERT OR IGNORE INTO {quote(model._meta.db_table)} ({columns}) VALUES ({places})"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(sql, list(zip(*(values_of(field, rows, connection) for field in fields), strict=True)))


def values_of(field: models.Field[Any, Any], rows: Sequence[Mapping[str, Any]], connection: Any) -> list[Any]:
    """One column of all rows, as the database takes it."""
    name, default = field.attname, field.get_default()
    values = [row.get(name, default) for row in rows]
    if isinstance(field, UNCHANGED):
        return values
    adapt: Callable[[Any], Any]
    if isinstance(field, models.DateTimeField):
        adapt = connection.ops.adapt_datetimefield_value
    else:
        adapt = lambda value: field.get_db_prep_save(value, connection)  # noqa: E731
    return [None if value is None else adapt(value) for value in values]
