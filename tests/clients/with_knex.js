// knex: its query builder, its column and table pickers, a stream, transactions.
"use strict";
const assert = require("assert");
const knex = require("knex")({ client: "pg", connection: require("./common").connection, pool: { min: 1, max: 2 } });
const c = require("./common");

c.checks({
  async tables() {
    const rows = await knex("information_schema.tables").select("table_name").where({ table_schema: "public" }).orderBy("table_name");
    assert.deepStrictEqual(rows.map((row) => row.table_name), c.TABLES);
    assert.strictEqual(await knex.schema.hasTable("invoices"), true);
    assert.strictEqual(await knex.schema.hasTable("payroll"), false);
  },
  async describe() {
    assert.deepStrictEqual(Object.keys(await knex("invoices").columnInfo()).sort(), [...c.COLUMNS].sort());
    assert.strictEqual(await knex.schema.hasColumn("invoices", "amount"), true);
    assert.strictEqual(await knex.schema.hasColumn("customers", "tax_number"), false);
  },
  async sum() {
    assert.deepStrictEqual(await knex("invoices").sum("amount"), [{ sum: c.SUM }]);
  },
  async parameter() {
    assert.deepStrictEqual(await knex("invoices").sum("amount").where({ department: "Sales" }), [{ sum: c.SUM_OF_SALES }]);
    assert.deepStrictEqual(await knex("invoices").whereIn("id", [1, 2]).orderBy("id").pluck("id"), ["1", "2"]);
  },
  async cursor() {
    const rows = [];
    for await (const row of knex("readings").select("id", "value").orderBy("id").stream({ highWaterMark: 1000 })) rows.push(row);
    c.allReadings(rows);
  },
  async error() {
    await c.refused(knex("invoices").where({ id: 1 }).delete(), "25006");
    await c.refused(knex.raw("SELECT 1 / ?::int", [0]), "22012");
    assert.deepStrictEqual((await knex.raw("SELECT 1 AS one")).rows, [{ one: 1 }]);
  },
  async transaction() {
    await c.refused(knex.transaction((tx) => tx("invoices").delete()), "25006");
    const seen = await knex.transaction(async (tx) => {
      await c.refused(tx.transaction((inner) => inner.raw("SELECT 1/0")), "22012");
      return tx("invoices").sum("amount");
    }, { isolationLevel: "repeatable read", readOnly: true });
    assert.deepStrictEqual(seen, [{ sum: c.SUM }]);
  },
  async hidden() {
    await c.refused(knex("api_keys").select("secret"), "42P01");
  },
}, () => knex.destroy());
