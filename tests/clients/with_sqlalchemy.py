"""SQLAlchemy 2: the Inspector, queries, stream_results, reflection, pandas; the driver is the first argument."""

import asyncio
import decimal
import os
import sys

import pandas
import sqlalchemy
from common import *
from sqlalchemy import MetaData, Table, create_engine, func, inspect, select, text

DRIVER = sys.argv[1]
URL = sqlalchemy.URL.create(
    f"postgresql+{DRIVER}",
    os.environ["PGUSER"],
    os.environ["PGPASSWORD"],
    os.environ["PGHOST"],
    int(os.environ["PGPORT"]),
    os.environ["PGDATABASE"],
)
EXPECTED = decimal.Decimal(SUM)
NO_SUCH_TABLE = sqlalchemy.exc.ProgrammingError


def work(engine):
    """Everything that runs on a synchronous engine."""

    @check("tables")
    def _():
        inspector = inspect(engine)
        equal(sorted(inspector.get_table_names()), TABLES)
        equal(inspector.get_view_names(), [])
        equal(inspector.get_materialized_view_names(), [])
        equal("public" in inspector.get_schema_names(), True)
        equal(inspector.has_table("invoices"), True)
        equal(inspector.has_table("payroll"), False)

    @check("describe")
    def _():
        inspector = inspect(engine)
        columns = inspector.get_columns("invoices")
        equal([column["name"] for column in columns], COLUMNS)
        equal([str(column["type"]) for column in columns][:3], ["BIGINT", "NUMERIC(12, 2)", "DATE"])
        equal([column["nullable"] for column in columns], [False] * 5 + [True])
        equal(inspector.get_table_comment("invoices")["text"] in ("one row per invoice sent to a customer", None), True)

    @check("keys")
    def _():
        inspector = inspect(engine)
        equal(inspector.get_pk_constraint("invoices")["constrained_columns"], ["id"])
        keys = inspector.get_foreign_keys("invoices")
        referred = sorted((key["constrained_columns"][0], key["referred_table"]) for key in keys)
        equal(referred, [("customer_id", "customers"), ("department", "departments")])
        equal("invoices_date" in [index["name"] for index in inspector.get_indexes("invoices")], True)
        inspector.get_unique_constraints("invoices")
        inspector.get_check_constraints("invoices")

    @check("reflection")
    def _():
        metadata = MetaData()
        metadata.reflect(engine)
        equal(sorted(metadata.tables), TABLES)
        invoices = metadata.tables["invoices"]
        with engine.connect() as connection:
            equal(connection.scalar(select(func.sum(invoices.c.amount))), EXPECTED)

    @check("sum")
    def _():
        with engine.connect() as connection:
            equal(connection.scalar(text(TOTAL)), EXPECTED)

    @check("parameter")
    def _():
        with engine.connect() as connection:
            seen = connection.scalar(text(TOTAL + " WHERE department = :d"), {"d": "Sales"})
            equal(seen, SUM_OF_SALES and decimal.Decimal(SUM_OF_SALES))

    @check("cursor")
    def _():
        with engine.connect().execution_options(stream_results=True, yield_per=1000) as connection:
            all_readings([tuple(row) for row in connection.execute(text(READ))])

    @check("error")
    def _():
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            with refused(sqlalchemy.exc.DBAPIError, "25006"):
                connection.execute(text(WRITE))
            with refused(sqlalchemy.exc.DBAPIError, "22012"):
                connection.execute(text("SELECT 1/0"))
            equal(connection.scalar(text("SELECT 1")), 1)

    @check("transaction")
    def _():
        with engine.connect() as connection:
            connection.scalar(text(TOTAL))
            with refused(sqlalchemy.exc.DBAPIError, "25006"):
                connection.execute(text(WRITE))
            connection.rollback()
            with refused(sqlalchemy.exc.DBAPIError, "22012"), connection.begin_nested():
                connection.execute(text("SELECT 1/0"))
            equal(connection.scalar(text(TOTAL)), EXPECTED)
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            equal(connection.scalar(text(TOTAL)), EXPECTED)

    @check("hidden")
    def _():
        with engine.connect() as connection, refused(NO_SUCH_TABLE, "42P01"):
            connection.execute(text(HIDDEN))
        with refused(sqlalchemy.exc.NoSuchTableError):
            Table("payroll", MetaData(), autoload_with=engine)

    @check("pandas")
    def _():
        frame = pandas.read_sql(TOTAL, engine)
        equal(decimal.Decimal(str(frame.iloc[0, 0])), EXPECTED)
        equal(len(pandas.read_sql_table("invoices", engine).columns), len(COLUMNS))
        chunks = pandas.read_sql(READ, engine, chunksize=1000)
        equal(sum(len(chunk) for chunk in chunks), READINGS)


if DRIVER == "asyncpg":
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.util import greenlet_spawn

    # The asynchronous engine's own synchronous face, as `run_sync` uses it.
    asyncio.run(greenlet_spawn(work, create_async_engine(URL).sync_engine))
else:
    work(create_engine(URL))
