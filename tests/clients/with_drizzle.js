// drizzle over node-postgres: typed queries, relations in SQL, transactions with savepoints.
"use strict";
const assert = require("assert");
const { Pool } = require("pg");
const Cursor = require("pg-cursor");
const { drizzle } = require("drizzle-orm/node-postgres");
const { bigint, date, integer, numeric, pgTable, text } = require("drizzle-orm/pg-core");
const { asc, eq, inArray, sql, sum } = require("drizzle-orm");
const c = require("./common");

const pool = new Pool(c.connection);
const db = drizzle(pool);
const invoices = pgTable("invoices", {
  id: bigint("id", { mode: "number" }).primaryKey(),
  amount: numeric("amount"),
  date: date("date"),
  department: text("department"),
});
const readings = pgTable("readings", { id: bigint("id", { mode: "number" }).primaryKey(), value: integer("value") });
const apiKeys = pgTable("api_keys", { secret: text("secret") });

c.checks({
  async tables() {
    assert.deepStrictEqual((await db.execute(c.LIST_TABLES)).rows.map((row) => row.table_name), c.TABLES);
  },
  async describe() {
    assert.deepStrictEqual((await db.execute(c.LIST_COLUMNS)).rows.map((row) => row.column_name), c.COLUMNS);
  },
  async sum() {
    assert.deepStrictEqual(await db.select({ sum: sum(invoices.amount) }).from(invoices), [{ sum: c.SUM }]);
  },
  async parameter() {
    const sales = await db.select({ sum: sum(invoices.amount) }).from(invoices).where(eq(invoices.department, "Sales"));
    assert.deepStrictEqual(sales, [{ sum: c.SUM_OF_SALES }]);
    const prepared = db.select({ id: invoices.id }).from(invoices).where(inArray(invoices.id, [1, 2])).orderBy(asc(invoices.id)).prepare("two");
    assert.deepStrictEqual(await prepared.execute(), [{ id: 1 }, { id: 2 }]);
  },
  async cursor() {
    // drizzle has no cursor of its own: the statement it builds, through its driver's.
    const query = db.select().from(readings).orderBy(asc(readings.id)).toSQL();
    const client = await pool.connect();
    const cursor = client.query(new Cursor(query.sql, query.params));
    const rows = [];
    for (let some = await cursor.read(1000); some.length > 0; some = await cursor.read(1000)) rows.push(...some);
    await cursor.close();
    client.release();
    c.allReadings(rows);
  },
  async error() {
    await c.refused(db.delete(invoices).where(eq(invoices.id, 1)), "25006");
    await c.refused(db.execute(sql`SELECT 1 / ${0}::int`), "22012");
    assert.deepStrictEqual((await db.execute(sql`SELECT 1 AS one`)).rows, [{ one: 1 }]);
  },
  async transaction() {
    await c.refused(db.transaction((tx) => tx.delete(invoices)), "25006");
    const seen = await db.transaction(async (tx) => {
      await c.refused(tx.transaction((inner) => inner.execute(sql`SELECT 1/0`)), "22012");
      return tx.select({ sum: sum(invoices.amount) }).from(invoices);
    }, { isolationLevel: "read committed", accessMode: "read only" });
    assert.deepStrictEqual(seen, [{ sum: c.SUM }]);
  },
  async hidden() {
    await c.refused(db.select().from(apiKeys), "42P01");
  },
}, () => pool.end());
