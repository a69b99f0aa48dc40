// Stands for a model, with OpenAI's API: it sends the tool call that the chat asks it for, word for word, also a forged
// one, and then answers with what the tool said. Prints `port N`.
"use strict";
const http = require("http");

/** The assistant's turn: a call of the tool, or what the tool returned. */
function turn({ messages, tools }) {
  const last = messages[messages.length - 1];
  if (last.role === "tool") return { role: "assistant", content: String(last.content) };
  const said = typeof last.content === "string" ? last.content : last.content.map((part) => part.text).join("");
  const call = { name: tools[0].function.name, arguments: said };
  return { role: "assistant", content: null, tool_calls: [{ index: 0, id: "call_" + Date.now(), type: "function", function: call }] };
}

function answer(request, response, body) {
  const asked = JSON.parse(body);
  const message = turn(asked);
  const reason = message.tool_calls ? "tool_calls" : "stop";
  const about = { id: "pretended", created: 0, model: asked.model };
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  if (!asked.stream) {
    response.setHeader("content-type", "application/json");
    const choices = [{ index: 0, message, finish_reason: reason }];
    response.end(JSON.stringify({ ...about, object: "chat.completion", choices, usage }));
    return;
  }
  response.setHeader("content-type", "text/event-stream");
  const piece = (choice) => response.write("data: " + JSON.stringify({ ...about, object: "chat.completion.chunk", choices: [{ index: 0, ...choice }] }) + "\n\n");
  piece({ delta: message, finish_reason: null });
  piece({ delta: {}, finish_reason: reason });
  response.end("data: [DONE]\n\n");
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => answer(request, response, Buffer.concat(parts)));
});
server.listen(0, "127.0.0.1", () => console.log("port " + server.address().port));
