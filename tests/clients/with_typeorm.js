// typeorm: what it asks when it connects, its query runner's tables, its query builder, streams, transactions.
"use strict";
const assert = require("assert");
require("reflect-metadata");
const { DataSource, EntitySchema } = require("typeorm");
const c = require("./common");

const Invoice = new EntitySchema({
  name: "Invoice",
  tableName: "invoices",
  columns: { id: { type: "bigint", primary: true }, amount: { type: "numeric" }, department: { type: "text" } },
});
const { user, ...rest } = c.connection;
// installExtensions would CREATE EXTENSION; nothing here needs one.
const source = new DataSource({ type: "postgres", username: user, ...rest, entities: [Invoice], installExtensions: false });

async function main() {
  await source.initialize();
  const runner = source.createQueryRunner();
  const invoices = source.getRepository(Invoice);
  await c.checks({
    async tables() {
      assert.deepStrictEqual((await source.query(c.LIST_TABLES)).map((row) => row.table_name), c.TABLES);
      assert.strictEqual(await runner.hasTable("invoices"), true);
      assert.strictEqual(await runner.hasTable("payroll"), false);
    },
    async describe() {
      const table = await runner.getTable("public.invoices");
      assert.deepStrictEqual(table.columns.map((column) => column.name).sort(), [...c.COLUMNS].sort());
      assert.deepStrictEqual(table.primaryColumns.map((column) => column.name), ["id"]);
    },
    async sum() {
      assert.strictEqual(String(await invoices.sum("amount")), String(Number(c.SUM)));
    },
    async parameter() {
      const query = invoices.createQueryBuilder("i").select("SUM(i.amount)", "sum").where("i.department = :d", { d: "Sales" });
      assert.deepStrictEqual(await query.getRawOne(), { sum: c.SUM_OF_SALES });
      assert.deepStrictEqual((await invoices.find({ where: { id: "1" } })).map((row) => row.id), ["1"]);
    },
    async cursor() {
      const stream = await runner.stream(c.READ);
      const rows = [];
      for await (const row of stream) rows.push(row);
      c.allReadings(rows);
    },
    async error() {
      await c.refused(invoices.delete({ id: "1" }), "25006");
      await c.refused(source.query("SELECT 1 / $1::int", [0]), "22012");
      assert.deepStrictEqual(await source.query("SELECT 1 AS one"), [{ one: 1 }]);
    },
    async transaction() {
      await c.refused(source.transaction((manager) => manager.query(c.WRITE)), "25006");
      const seen = await source.transaction("REPEATABLE READ", (manager) => manager.query(c.TOTAL));
      assert.deepStrictEqual(seen, [{ sum: c.SUM }]);
    },
    async hidden() {
      await c.refused(source.query(c.HIDDEN), "42P01");
    },
  });
  await runner.release();
  await source.destroy();
}

main().catch((error) => {
  console.log("not ok connect: " + error.message.replace(/\s+/g, " "));
  process.exit(1);
});
