// More workflows made from examples/n8n/workflows/question.json: the Postgres node's other settings, and many items in
// one execution. variants.js FOLDER writes them there.
"use strict";
const fs = require("fs");
const path = require("path");

const folder = process.argv[2];
const example = path.join(__dirname, "../../../examples/n8n/workflows/question.json");
const BY_DEPARTMENT = "SELECT SUM(amount) AS sum, COUNT(*) AS invoices FROM invoices WHERE department = $1";
const value = "={{ $('Webhook').first().json.body.department }}";
const executeQuery = (options) => ({ operation: "executeQuery", query: BY_DEPARTMENT, options: { queryReplacement: value, ...options } });
const named = (name) => ({ __rl: true, mode: "name", value: name });

const VARIANTS = {
  "rowgate-single": executeQuery({ queryBatching: "single" }),
  "rowgate-transaction": executeQuery({ queryBatching: "transaction" }),
  "rowgate-independently": executeQuery({ queryBatching: "independently" }),
  "rowgate-select": {
    operation: "select",
    schema: named("public"),
    table: named("={{ $('Webhook').first().json.body.table }}"),
    returnAll: true,
    where: { values: [{ column: "department", value }] },
    sort: { values: [{ column: "id", direction: "ASC" }] },
    options: { outputColumns: ["id", "amount"] },
  },
  "rowgate-delete": { operation: "deleteTable", schema: named("public"), table: named("invoices"), deleteCommand: "truncate", options: {} },
};

fs.mkdirSync(folder);
Object.entries(VARIANTS).forEach(([name, parameters], index) => {
  const workflow = JSON.parse(fs.readFileSync(example, "utf8"));
  const node = (wanted) => workflow.nodes.find((found) => found.name === wanted);
  Object.assign(workflow, { id: `rowgateVariant00${index}`, name });
  Object.assign(node("Webhook"), { webhookId: `b1f0c8a2-6a0e-4c1c-9a53-4e1f0c6f1a0${index}` });
  node("Webhook").parameters.path = name;
  node("Ask").parameters = parameters;
  fs.writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(workflow, null, 2));
});
