"""asyncpg as bob: binary results, prepared statements, cursors, errors, transactions, a pool."""

import asyncio
import datetime
import decimal
import os

import asyncpg

SUM = "SELECT SUM(amount) FROM invoices"
TOTAL = decimal.Decimal("1300.00")


async def one_connection():
    connection = await asyncpg.connect()
    assert await connection.fetchval(SUM) == TOTAL
    statement = await connection.prepare("SELECT id, date FROM invoices WHERE department = $1 AND id < $2")
    rows = await statement.fetch("HRM", 2)
    assert [tuple(row) for row in rows] == [(1, datetime.date(2025, 1, 15))], rows
    assert await statement.fetch("Finance", 100) == []
    names = await connection.fetchval("SELECT array_agg(name ORDER BY name) FROM departments")
    assert names == ["HRM", "Training"], names

    try:
        await connection.execute("DELETE FROM invoices")
        raise AssertionError("the DELETE was not refused")
    except asyncpg.exceptions.ReadOnlySQLTransactionError as error:
        assert error.hint, error
    try:
        await connection.fetch("SELECT secret FROM api_keys")
        raise AssertionError("the hidden table was not refused")
    except asyncpg.exceptions.UndefinedTableError:
        pass
    assert await connection.fetchval(SUM) == TOTAL

    async with connection.transaction(isolation="repeatable_read", readonly=True):
        assert await connection.fetchval(SUM) == TOTAL
        # A portal with a row limit.
        seen = [row["id"] async for row in connection.cursor("SELECT id FROM invoices ORDER BY id", prefetch=2)]
        assert seen == [1, 2, 3, 4, 9, 10], seen
    await connection.close()


async def a_pool():
    async with asyncpg.create_pool(min_size=1, max_size=3) as pool:
        sums = await asyncio.gather(*(pool.fetchval(SUM) for _ in range(12)))
        assert sums == [TOTAL] * 12


async def a_wrong_password():
    try:
        await asyncpg.connect(password="wrong")
        raise AssertionError("a wrong password was accepted")
    except asyncpg.exceptions.InvalidPasswordError:
        pass


async def main():
    await one_connection()
    await a_pool()
    await a_wrong_password()
    print("ok")


assert os.environ["PGUSER"] == "bob"
asyncio.run(main())
