"""psycopg 3: text and binary, parameters, prepared statements, pipelines, server-side cursors, and all of it async."""

import asyncio
import datetime
import decimal

import psycopg
from common import *

connection = psycopg.connect(autocommit=True)


@check("tables")
def _():
    equal([name for (name,) in connection.execute(LIST_TABLES)], TABLES)


@check("describe")
def _():
    equal([name for (name,) in connection.execute(LIST_COLUMNS)], COLUMNS)
    equal([column.name for column in connection.execute("SELECT * FROM invoices").description], COLUMNS)


@check("sum")
def _():
    equal(connection.execute(TOTAL).fetchone(), (decimal.Decimal(SUM),))
    binary = connection.cursor(binary=True).execute(TOTAL).fetchone()
    equal(binary, (decimal.Decimal(SUM),))


@check("parameter")
def _():
    # From the sixth time on psycopg uses a named prepared statement.
    for _ in range(8):
        (total,) = connection.execute(TOTAL + " WHERE department = %s", ("Sales",)).fetchone()
        equal(total, SUM_OF_SALES and decimal.Decimal(SUM_OF_SALES))
    by_department = "SELECT id, date FROM invoices WHERE department = %s AND amount > %s ORDER BY id"
    equal(connection.execute(by_department, ("HRM", 300)).fetchall(), [(1, datetime.date(2025, 1, 15))])
    array = connection.execute("SELECT array_agg(id ORDER BY id) FROM invoices WHERE id < %s", (4,)).fetchone()
    equal(array, ([1, 2, 3],))


@check("cursor")
def _():
    with connection.transaction(), connection.cursor(name="big") as cursor:
        cursor.itersize = 1000
        cursor.execute(READ)
        all_readings(list(cursor))


@check("binary cursor, by parameter, scrolled")
def _():
    with connection.transaction(), connection.cursor(name="par", scrollable=True, binary=True) as cursor:
        cursor.execute("SELECT id FROM readings WHERE id > %s ORDER BY id", (100,))
        equal(cursor.fetchmany(2), [(101,), (102,)])
        cursor.scroll(10)
        equal(cursor.fetchone(), (113,))


@check("stream")
def _():
    all_readings(list(connection.cursor().stream(READ)))


@check("copy")
def _():
    with connection.cursor().copy("COPY (SELECT id, value FROM readings ORDER BY id) TO STDOUT") as copy:
        all_readings([tuple(int(cell) for cell in row) for row in copy.rows()])


@check("pipeline")
def _():
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int + 1", (n,)) for n in range(5)]
        equal([cursor.fetchone() for cursor in cursors], [(n + 1,) for n in range(5)])


@check("error")
def _():
    with refused(psycopg.errors.ReadOnlySqlTransaction, "25006") as error:
        connection.execute(WRITE)
    with refused(psycopg.errors.DivisionByZero, "22012"):
        connection.execute("SELECT 1 / %s::int", (0,))
    equal(connection.execute("SELECT 1").fetchone(), (1,))


@check("transaction")
def _():
    with psycopg.connect() as other:
        other.execute(TOTAL)
        with refused(psycopg.errors.ReadOnlySqlTransaction, "25006"):
            other.execute("DELETE FROM invoices WHERE id = %s", (1,))
        with refused(psycopg.errors.InFailedSqlTransaction, "25P02"):
            other.execute("SELECT 1")
        other.rollback()
        equal(other.execute("SELECT 1").fetchone(), (1,))
        # A savepoint outlives the error inside it.
        with refused(psycopg.errors.DivisionByZero), other.transaction():
            other.execute("SELECT 1/0")
        equal(other.execute(TOTAL).fetchone(), (decimal.Decimal(SUM),))


@check("hidden")
def _():
    with refused(psycopg.errors.UndefinedTable, "42P01"):
        connection.execute(HIDDEN)
    with refused(psycopg.errors.UndefinedColumn, "42703"):
        connection.execute("SELECT tax_number FROM customers")


@check("wrong password")
def _():
    with refused(psycopg.OperationalError):
        psycopg.connect(password="wrong")


async def asynchronous():
    async with await psycopg.AsyncConnection.connect() as other:
        async with other.cursor(name="abig") as cursor:
            await cursor.execute(READ)
            all_readings([row async for row in cursor])
        cursor = await other.execute(TOTAL)
        equal(await cursor.fetchone(), (decimal.Decimal(SUM),))
        async with other.pipeline():
            one, two = await other.execute("SELECT 1"), await other.execute("SELECT %s::text", ("two",))
        equal([await one.fetchone(), await two.fetchone()], [(1,), ("two",)])
        with refused(psycopg.errors.UndefinedTable):
            await other.execute(HIDDEN)
        await other.rollback()
        await other.execute("SELECT 1")


asyncio.run(acheck("async", asynchronous))
