"""LlamaIndex's SQLDatabase: what its text-to-SQL engine calls."""

import os

from common import *
from llama_index.core import SQLDatabase

PARTS = [os.environ[name] for name in ("PGUSER", "PGPASSWORD", "PGHOST", "PGPORT", "PGDATABASE")]
database = None


@check("tables")
def _():
    global database
    database = SQLDatabase.from_uri("postgresql+psycopg://{}:{}@{}:{}/{}".format(*PARTS), sample_rows_in_table_info=2)
    equal(sorted(database.get_usable_table_names()), TABLES)


@check("describe")
def _():
    described = database.get_single_table_info("invoices")
    for column in COLUMNS:
        assert f"{column} (" in described, described
    equal([column["name"] for column in database.get_table_columns("invoices")], COLUMNS)


def rows(sql, **options):
    return database.run_sql(sql, **options)[1]["result"]


@check("sum")
def _():
    equal([str(row[0]) for row in rows(TOTAL)], [SUM])


@check("parameter")
def _():
    with database.engine.connect() as connection:
        seen = connection.exec_driver_sql(TOTAL + " WHERE department = %s", ("Sales",)).scalar()
    equal(seen and str(seen), SUM_OF_SALES)


@check("cursor")
def _():
    all_readings([tuple(row) for row in rows(READ)])


@check("error")
def _():
    for wrong in (WRITE, "SELECT 1/0"):
        with refused(Exception):
            rows(wrong)
    equal([tuple(row) for row in rows("SELECT 1")], [(1,)])


@check("transaction")
def _():
    with database.engine.connect() as connection:
        connection.exec_driver_sql(TOTAL)
        with refused(Exception):
            connection.exec_driver_sql(WRITE)
        connection.rollback()
        equal(str(connection.exec_driver_sql(TOTAL).scalar()), SUM)


@check("hidden")
def _():
    with refused(NotImplementedError):
        rows(HIDDEN)
