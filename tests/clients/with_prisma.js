// Prisma Client over its pg adapter: model queries, raw queries, keyset paging, transactions.
"use strict";
const assert = require("assert");
const path = require("path");
const { PrismaPg } = require("@prisma/adapter-pg");
const { PrismaClient } = require(path.join(process.env.NODE_PATH, "../prisma"));
const c = require("./common");

const prisma = new PrismaClient({ adapter: new PrismaPg(c.connection) });

/** Prisma has codes of its own; the SQLSTATE stands in what the adapter said. */
async function refused(promise, words) {
  await assert.rejects(promise, (error) => {
    const said = error.message + JSON.stringify(error.meta || {}) + (error.cause ? error.cause.message : "");
    assert.match(said, words);
    return true;
  });
}

/** Prisma knows no type `name`, on whatever server. */
const asText = (sql, column) => sql.replace(column, `${column}::text`);

c.checks({
  async tables() {
    assert.deepStrictEqual((await prisma.$queryRawUnsafe(asText(c.LIST_TABLES, "table_name"))).map((row) => row.table_name), c.TABLES);
  },
  async describe() {
    assert.deepStrictEqual((await prisma.$queryRawUnsafe(asText(c.LIST_COLUMNS, "column_name"))).map((row) => row.column_name), c.COLUMNS);
  },
  async sum() {
    const { _sum } = await prisma.invoice.aggregate({ _sum: { amount: true } });
    assert.strictEqual(_sum.amount.toFixed(2), c.SUM);
  },
  async parameter() {
    const { _sum } = await prisma.invoice.aggregate({ _sum: { amount: true }, where: { department: "Sales" } });
    assert.strictEqual(_sum.amount && _sum.amount.toFixed(2), c.SUM_OF_SALES);
    const [{ sum }] = await prisma.$queryRaw`SELECT SUM(amount) FROM invoices WHERE department = ${"Sales"}`;
    assert.strictEqual(sum && sum.toFixed(2), c.SUM_OF_SALES);
    assert.deepStrictEqual(await prisma.invoice.findUnique({ where: { id: 1 }, select: { department: true } }), { department: "HRM" });
  },
  // Prisma has no server-side cursor; its `cursor` is a condition on the key.
  async cursor() {
    const rows = [];
    for (let last = 0n; ; last = rows.at(-1).id) {
      const from = last ? { cursor: { id: last }, skip: 1 } : {};
      const some = await prisma.reading.findMany({ ...from, take: 5000, orderBy: { id: "asc" } });
      rows.push(...some);
      if (some.length < 5000) break;
    }
    c.allReadings(rows);
  },
  async error() {
    await refused(prisma.invoice.deleteMany({}), /DELETE|BEGIN|25006|read/);
    await refused(prisma.$queryRaw`SELECT 1 / ${0}::int`, /22012/);
    assert.deepStrictEqual(await prisma.$queryRaw`SELECT 1 AS one`, [{ one: 1 }]);
  },
  async transaction() {
    await refused(prisma.$transaction((tx) => tx.$executeRawUnsafe(c.WRITE)), /25006/);
    const seen = await prisma.$transaction((tx) => tx.invoice.aggregate({ _sum: { amount: true } }), { isolationLevel: "RepeatableRead" });
    assert.strictEqual(seen._sum.amount.toFixed(2), c.SUM);
  },
  async hidden() {
    await refused(prisma.apiKey.findMany({}), /api_keys/);
    await refused(prisma.$queryRawUnsafe(c.HIDDEN), /42P01/);
  },
}, () => prisma.$disconnect());
