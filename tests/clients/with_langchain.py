"""LangChain's SQLDatabase: what its SQL agent tools call."""

import os

import sqlalchemy
from common import *
from langchain_community.utilities import SQLDatabase

PARTS = [os.environ[name] for name in ("PGUSER", "PGPASSWORD", "PGHOST", "PGPORT", "PGDATABASE")]
URI = "postgresql+psycopg2://{}:{}@{}:{}/{}".format(*PARTS)
database = None


@check("tables")
def _():
    global database
    database = SQLDatabase.from_uri(URI, sample_rows_in_table_info=3, view_support=True)
    equal(sorted(database.get_usable_table_names()), TABLES)


@check("describe")
def _():
    described = database.get_table_info(["invoices"])
    for column in COLUMNS:
        assert f"{column} " in described or f'"{column}" ' in described, described
    assert "3 rows from invoices table:" in described, described
    assert "FOREIGN KEY(department) REFERENCES departments (name)" in described, described
    everything = database.get_table_info()
    for table in TABLES:
        assert f"CREATE TABLE {table} (" in everything, table
    assert "tax_number" not in everything


@check("sum")
def _():
    equal(database.run(TOTAL), f"[(Decimal('{SUM}'),)]")


@check("parameter")
def _():
    seen = database.run(TOTAL + " WHERE department = :d", parameters={"d": "Sales"})
    equal(seen, f"[(Decimal('{SUM_OF_SALES}'),)]" if SUM_OF_SALES else "[(None,)]")


@check("cursor")
def _():
    result = database.run(READ, fetch="cursor")
    all_readings([tuple(row) for row in result])


@check("error")
def _():
    with refused(sqlalchemy.exc.DBAPIError, "25006"):
        database.run(WRITE)
    said = database.run_no_throw("SELECT SUM(amout) FROM invoices")
    assert "amout" in said and "amount" in said, said
    equal(database.run("SELECT 1"), "[(1,)]")


@check("transaction")
def _():
    # Each run is a transaction of its own; one that fails leaves the pooled connection usable.
    for _ in range(7):
        database.run_no_throw("SELECT 1/0")
    equal(database.run(TOTAL), f"[(Decimal('{SUM}'),)]")


@check("hidden")
def _():
    with refused(sqlalchemy.exc.ProgrammingError, "42P01"):
        database.run(HIDDEN)
    with refused(ValueError):
        database.get_table_info(["payroll"])


@check("with a schema")
def _():
    # LangChain then says SET search_path before each statement.
    other = SQLDatabase.from_uri(URI, schema="public")
    equal(other.run(TOTAL), f"[(Decimal('{SUM}'),)]")
