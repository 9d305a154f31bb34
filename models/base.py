"""The declarative base: naming convention, column types, and nothing of any feature."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, DateTime, Enum, Identity, Interval, MetaData, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s__%(column_0_N_name)s",
    "uq": "uq_%(table_name)s__%(column_0_N_name)s",
    "ck": "ck_%(table_name)s__%(constraint_name)s",
    "fk": "fk_%(table_name)s__%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """All rows. Datetimes are aware; dicts are jsonb."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy's own declaration
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[str]: JSONB(none_as_null=True),
    }


def enum_column(enum: type[StrEnum]) -> Enum:
    """An enum stored as its value in text with a CHECK: readable in psql, and a new member is a plain migration."""
    return Enum(
        enum,
        native_enum=False,
        create_constraint=True,
        name=enum.__name__.lower(),
        length=16,
        values_callable=lambda members: [member.value for member in members],
        validate_strings=True,
    )


UuidKey = Annotated[UUID, mapped_column(primary_key=True, server_default=text("uuidv7()"))]
"""Made by PostgreSQL 18: ordered by time, so that inserts stay at the right edge of every index."""

BigKey = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]

CreatedAt = Annotated[datetime, mapped_column(server_default=func.now())]
"""Postgres' clock; the only one that is ever compared."""


def seconds(amount: float | ColumnElement[Any] | InstrumentedAttribute[int]) -> ColumnElement[Any]:
    """An interval for arithmetic with Postgres' clock."""
    return func.make_interval(0, 0, 0, 0, 0, 0, amount, type_=Interval)
