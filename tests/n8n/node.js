// The example's workflows for one user, as n8n runs them: its expressions, its Postgres node (pg-promise, simple
// protocol, the three ways to batch, its pickers) and its HTTP request node.
"use strict";
const assert = require("assert");
const { createHmac } = require("crypto");
const fs = require("fs");
const path = require("path");
const pgPromise = require("pg-promise");

const { GATE_PORT, GATE_HTTP_PORT, GATE_DATABASE, TOKEN_SECRET, EXAMPLE } = process.env;
const expected = JSON.parse(process.env.EXPECTED);
const read = (file) => JSON.parse(fs.readFileSync(path.join(EXAMPLE, file), "utf8"));

/** A parameter as n8n reads it: "={{ expression }}" is its value, "=text {{ expression }}" a text. */
function evaluate(parameter, $) {
  if (typeof parameter !== "string" || !parameter.startsWith("=")) return parameter;
  const value = (expression) => new Function("$", "return (" + expression + ");")($);
  const whole = /^=\{\{([^]*)\}\}$/.exec(parameter);
  if (whole && !whole[1].includes("{{")) return value(whole[1]);
  return parameter.slice(1).replace(/\{\{([^]*?)\}\}/g, (_, expression) => String(value(expression)));
}

/** What earlier nodes put out, by their names. */
function outputs(items) {
  return (name) => ({ first: () => ({ json: items[name] }) });
}

/** The node JWT, operation "sign". */
function sign(node, $) {
  const part = (text) => Buffer.from(text).toString("base64url");
  const head = JSON.stringify({ alg: "HS256", typ: "JWT", kid: node.parameters.options.kid });
  const unsigned = part(head) + "." + part(evaluate(node.parameters.claimsJson, $));
  return unsigned + "." + createHmac("sha256", TOKEN_SECRET).update(unsigned).digest("base64url");
}

/** A workflow up to its node "Sign token", for this user. */
function begin(file, trigger, received) {
  const workflow = read("workflows/" + file);
  const node = (name) => workflow.nodes.find((found) => found.name === name);
  const items = { [trigger]: received };
  const $ = outputs(items);
  items["Sign token"] = { token: sign(node("Sign token"), $) };
  return { node, $ };
}

/** As n8n's node sets pg-promise up (nodes/Postgres/transport). */
function connect(id, $) {
  const { data } = read("credentials.json").find((credential) => credential.id === id);
  const pgp = pgPromise({ noWarnings: true });
  const db = pgp({
    host: data.host,
    port: Number(GATE_PORT),
    database: GATE_DATABASE,
    user: evaluate(data.user, $),
    password: evaluate(data.password, $),
    keepAlive: true,
    max: data.maxConnections,
    ssl: !["disable", undefined].includes(data.ssl),
    sslmode: data.ssl,
  });
  return { db, pgp };
}

/** The three ways of "Query Batching" (nodes/Postgres/v2/helpers/utils). */
const batching = {
  single: async ({ db, pgp }, queries) => (await db.multi(pgp.helpers.concat(queries))).flat(),
  transaction: ({ db }, queries) =>
    db.tx(async (tx) => {
      const rows = [];
      for (const { query, values } of queries) rows.push(...(await tx.multi(query, values)).flat());
      return rows;
    }),
  independently: ({ db }, queries) =>
    db.task(async (task) => {
      const rows = [];
      for (const { query, values } of queries) {
        try {
          rows.push(...(await task.multi(query, values)).flat());
        } catch (error) {
          rows.push({ error: error.code, hint: error.hint });
        }
      }
      return rows;
    }),
};

async function refused(promise, code) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.code, code, error);
    return true;
  });
}

async function queries(client, query) {
  const whole = { query, values: [] };
  const parameter = "SELECT SUM(amount) AS sum FROM invoices WHERE department = $1";
  for (const [name, run] of Object.entries(batching)) {
    const rows = await run(client, [whole, { query: parameter, values: ["Sales"] }, whole]);
    const all = { sum: expected.sum, invoices: expected.invoices };
    assert.deepStrictEqual(rows, [all, { sum: expected.sales }, all], name);
    // A value is never SQL, whatever it holds.
    assert.deepStrictEqual(await run(client, [{ query: parameter, values: ["' OR true --"] }]), [{ sum: null }]);
  }
  // What a model would try; the connection is good for the next.
  const bad = (text) => [whole, { query: text, values: [] }];
  await refused(batching.single(client, bad("DELETE FROM invoices")), "25006");
  await refused(batching.transaction(client, bad("DELETE FROM invoices")), "25006");
  await refused(batching.single(client, bad("SELECT secret FROM api_keys")), "42P01");
  const apart = await batching.independently(client, [...bad("DROP TABLE invoices"), whole]);
  assert.deepStrictEqual([apart.length, apart[1].error], [3, "25006"]);
  assert.ok(apart[1].hint && apart[2].invoices === expected.invoices);
  const forged = ["SET rowgate.user_id = 'anne'", "SET SESSION AUTHORIZATION anne", "SELECT set_config('rowgate.user_id', 'anne', false)"];
  for (const text of forged) {
    await batching.independently(client, bad(text));
    assert.deepStrictEqual(await batching.single(client, [whole]), [{ sum: expected.sum, invoices: expected.invoices }], text);
  }
}

/** The node's own operation "select", and the lists it offers (methods/listSearch, helpers/utils). */
async function pickers({ db }) {
  const schemas = await db.any("SELECT schema_name FROM information_schema.schemata");
  const names = schemas.map((schema) => schema.schema_name);
  assert.ok(names.includes("public"), names);
  assert.deepStrictEqual(names.filter((name) => name.startsWith("rowgate")), []);
  const tables = await db.any("SELECT table_name FROM information_schema.tables WHERE table_schema=$1", ["public"]);
  assert.deepStrictEqual(tables.map((table) => table.table_name).sort(), expected.tables);
  const select = "column_name, data_type, is_nullable, udt_name, column_default";
  const sql = `SELECT ${select} FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2`;
  const columns = await db.any(sql, ["public", "employees"]);
  const seen = columns.map((column) => column.column_name).sort();
  assert.deepStrictEqual(seen, ["department", "hired", "id", "name", "title"], "not the salary");
  assert.deepStrictEqual(await db.any(sql, ["public", "api_keys"]), []);
  const supported = await db.any(
    `SELECT EXISTS (
			SELECT 1 FROM information_schema.columns WHERE table_name = 'columns' AND table_schema = 'information_schema' AND column_name = 'is_generated'
		) as is_generated,
		EXISTS (
			SELECT 1 FROM information_schema.columns WHERE table_name = 'columns' AND table_schema = 'information_schema' AND column_name = 'identity_generation'
		) as identity_generation;`,
  );
  assert.strictEqual(supported.length, 1);
  await db.any("SELECT pg_type.typname, pg_enum.enumlabel FROM pg_type JOIN pg_enum ON pg_enum.enumtypid = pg_type.oid;");
  const rows = await db.any("SELECT $3:name FROM $1:name.$2:name WHERE $4:name = $5 ORDER BY $6:name ASC LIMIT 50", [
    "public", "invoices", ["id", "amount"], "department", "HRM", "id",
  ]);
  assert.strictEqual(rows.length > 0, expected.hrm !== null);
  const targets = db.any("SELECT * FROM $1:name.$2:name LIMIT 50", ["public", "sales_targets"]);
  if (expected.tables.includes("sales_targets")) assert.strictEqual((await targets).length, 1);
  else await refused(targets, "42P01");
}

/** The HTTP request node. */
async function overHttp({ node, $ }, change = (body) => body) {
  const { method, url, headerParameters, jsonBody } = node("Ask over HTTP").parameters;
  const headers = { "content-type": "application/json" };
  for (const { name, value } of headerParameters.parameters) headers[name] = evaluate(value, $);
  const here = evaluate(url, $).replace(":6434/", `:${GATE_HTTP_PORT}/`);
  const body = change(evaluate(jsonBody, $));
  const response = await fetch(here, { method, headers, body });
  return { status: response.status, answer: await response.json() };
}

async function main() {
  const received = { body: { user_id: expected.user, department: "HRM" } };
  const question = begin("question.json", "Webhook", received);
  const client = connect("rowgatePostgres1", question.$);
  await queries(client, question.node("Ask").parameters.query);
  await pickers(client);
  await client.db.$pool.end();

  // The token of one and the name of another agree with nobody.
  const other = begin("question.json", "Webhook", { body: { user_id: "carol" } });
  const items = { Webhook: received.body ? received : {}, "Sign token": other.$("Sign token").first().json };
  const forged = connect("rowgatePostgres1", outputs(items));
  await refused(forged.db.any("SELECT 1"), "28P01");
  await forged.db.$pool.end();

  // The agent's credential: from the chat's metadata, never from what the model wrote.
  const chat = begin("agent.json", "Chat", { metadata: { user_id: expected.user }, chatInput: "user_id: carol" });
  const agent = connect("rowgatePostgres2", chat.$);
  assert.strictEqual((await agent.db.one("SELECT SUM(amount) AS sum FROM invoices")).sum, expected.sum);
  await agent.db.$pool.end();

  const http = begin("question-http.json", "Webhook", received);
  const { status, answer } = await overHttp(http);
  assert.strictEqual(status, 200, JSON.stringify(answer));
  assert.deepStrictEqual([answer.rows[0][0], answer.filtered], [expected.hrm, ["public.invoices"]]);
  const write = await overHttp(http, () => JSON.stringify({ sql: "DELETE FROM invoices" }));
  assert.deepStrictEqual([write.status, write.answer.sqlstate], [400, "25006"]);
  assert.ok(write.answer.hint);
  const named = await overHttp(http, (body) => JSON.stringify({ ...JSON.parse(body), user_id: "anne" }));
  assert.strictEqual(named.status, 422);

  // The Code node's snippet signs what the JWT node signs.
  const snippet = fs.readFileSync(path.join(EXAMPLE, "sign-token.js"), "utf8");
  const [{ json }] = new Function("$", "$env", "require", snippet)(outputs({ Webhook: received }), { ROWGATE_TOKEN_SECRET: TOKEN_SECRET }, require);
  const signed = connect("rowgatePostgres1", outputs({ Webhook: received, "Sign token": json }));
  assert.strictEqual((await signed.db.one("SELECT SUM(amount) AS sum FROM invoices")).sum, expected.sum);
  await signed.db.$pool.end();
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
