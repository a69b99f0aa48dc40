// The reference MCP server for Postgres, as an MCP client uses it: resources and its one tool.
"use strict";
const assert = require("assert");
const path = require("path");
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const c = require("./common");

const server = path.join(process.env.NODE_PATH, "@modelcontextprotocol/server-postgres/dist/index.js");

async function main() {
  const transport = new StdioClientTransport({ command: process.execPath, args: [server, c.url], stderr: "ignore" });
  const client = new Client({ name: "rowgate-tests", version: "1.0.0" });
  await client.connect(transport);
  // The server answers an error either as a protocol error or as a result that says isError.
  const query = async (sql) => {
    const result = await client.callTool({ name: "query", arguments: { sql } });
    if (result.isError) throw new Error(result.content[0].text);
    return JSON.parse(result.content[0].text);
  };
  await c.checks({
    async tables() {
      const { resources } = await client.listResources();
      const names = resources.map(({ uri }) => new URL(uri).pathname.split("/").at(-2));
      assert.deepStrictEqual(names.sort(), c.TABLES);
    },
    async describe() {
      const { resources } = await client.listResources();
      const { uri } = resources.find((resource) => resource.uri.endsWith("/invoices/schema"));
      const { contents } = await client.readResource({ uri });
      const names = JSON.parse(contents[0].text).map((column) => column.column_name);
      assert.deepStrictEqual(names.sort(), [...c.COLUMNS].sort());
    },
    async sum() {
      assert.deepStrictEqual(await query(c.TOTAL), [{ sum: c.SUM }]);
    },
    // The tool takes a text and nothing else: a model writes the value into it.
    async parameter() {
      assert.deepStrictEqual(await query(c.TOTAL + " WHERE department = 'Sales'"), [{ sum: c.SUM_OF_SALES }]);
    },
    // It has no cursor either: all rows at once.
    async cursor() {
      c.allReadings(await query(c.READ));
    },
    async error() {
      await assert.rejects(query("SELECT SUM(amout) FROM invoices"), /column "amout" does not exist/);
      await assert.rejects(query("SELECT 1/0"), /division by zero/);
      assert.deepStrictEqual(await query("SELECT 1 AS one"), [{ one: 1 }]);
    },
    // Each query stands between BEGIN TRANSACTION READ ONLY and ROLLBACK; the well-known way out of it does not work.
    async transaction() {
      await assert.rejects(query("COMMIT; DELETE FROM invoices; SELECT 1"), /DELETE/);
      assert.deepStrictEqual(await query(c.TOTAL), [{ sum: c.SUM }]);
    },
    async hidden() {
      await assert.rejects(query(c.HIDDEN), /relation "api_keys" does not exist/);
    },
  });
  await client.close();
}

main().catch((error) => {
  console.log("not ok connect: " + error.message.replace(/\s+/g, " "));
  process.exit(1);
});
