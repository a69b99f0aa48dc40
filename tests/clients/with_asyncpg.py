"""asyncpg: binary results, prepared statements, cursors, COPY, transactions, a pool with its reset query."""

import asyncio
import datetime
import decimal
import io

import asyncpg
from common import *

errors = asyncpg.exceptions
EXPECTED = decimal.Decimal(SUM)


async def tables(connection):
    equal([row[0] for row in await connection.fetch(LIST_TABLES)], TABLES)


async def describe(connection):
    equal([row[0] for row in await connection.fetch(LIST_COLUMNS)], COLUMNS)
    statement = await connection.prepare("SELECT * FROM invoices")
    equal([attribute.name for attribute in statement.get_attributes()], COLUMNS)


async def total(connection):
    equal(await connection.fetchval(TOTAL), EXPECTED)


async def parameter(connection):
    sales = SUM_OF_SALES and decimal.Decimal(SUM_OF_SALES)
    equal(await connection.fetchval(TOTAL + " WHERE department = $1", "Sales"), sales)
    statement = await connection.prepare("SELECT id, date FROM invoices WHERE department = $1 AND id < $2")
    equal([tuple(row) for row in await statement.fetch("HRM", 2)], [(1, datetime.date(2025, 1, 15))])
    equal(await connection.fetchval("SELECT array_agg(id ORDER BY id) FROM invoices WHERE id < $1", 4), [1, 2, 3])


async def cursor(connection):
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # A portal with a row limit.
        all_readings([row async for row in connection.cursor(READ, prefetch=500)])
        moving = await connection.cursor("SELECT id FROM readings ORDER BY id")
        await moving.forward(5)
        equal([row[0] for row in await moving.fetch(2)], [6, 7])


async def copy(connection):
    out = io.BytesIO()
    await connection.copy_from_query("SELECT id, value FROM readings WHERE id > $1 ORDER BY id", 0, output=out, format="csv")
    all_readings([tuple(map(int, line.split(b","))) for line in out.getvalue().splitlines()])


async def error(connection):
    with refused(errors.ReadOnlySQLTransactionError, "25006"):
        await connection.execute(WRITE)
    with refused(errors.DivisionByZeroError, "22012"):
        await connection.fetch("SELECT 1 / $1::int", 0)
    equal(await connection.fetchval(TOTAL), EXPECTED)


async def transaction(connection):
    with refused(errors.ReadOnlySQLTransactionError, "25006"):
        async with connection.transaction():
            await connection.execute(WRITE)
    async with connection.transaction():
        with refused(errors.DivisionByZeroError):
            async with connection.transaction():
                await connection.execute("SELECT 1/0")
        equal(await connection.fetchval(TOTAL), EXPECTED)


async def hidden(connection):
    with refused(errors.UndefinedTableError, "42P01"):
        await connection.fetch(HIDDEN)


async def types(connection):
    # A type that asyncpg does not know makes it read the catalogue for it.
    equal(await connection.fetchval("SELECT ARRAY[date '2025-01-15']"), [datetime.date(2025, 1, 15)])
    row = await connection.fetchrow("SELECT (id, department)  FROM invoices ORDER BY id LIMIT 1")
    equal(tuple(row[0]), (1, "HRM"))


async def pool(_):
    async with asyncpg.create_pool(min_size=1, max_size=3) as pool:
        equal(await asyncio.gather(*(pool.fetchval(TOTAL) for _ in range(12))), [EXPECTED] * 12)


async def password(_):
    with refused(errors.InvalidPasswordError):
        await asyncpg.connect(password="wrong")


async def main():
    connection = await asyncpg.connect()
    for name, function in {
        "tables": tables,
        "describe": describe,
        "sum": total,
        "parameter": parameter,
        "cursor": cursor,
        "copy": copy,
        "error": error,
        "transaction": transaction,
        "hidden": hidden,
        "types": types,
        "pool": pool,
        "wrong password": password,
    }.items():
        await acheck(name, function, connection)


asyncio.run(main())
