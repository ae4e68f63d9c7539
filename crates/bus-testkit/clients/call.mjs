// Calls a tool of a bus daemon and writes the result to standard output.
//
//     node call.mjs ws://127.0.0.1:8079 [TOOL [ARGUMENTS]]
//
// Without a tool, lists the tools. Needs `ws`. A token is taken from BUS_TOKEN.

import { createHash } from "node:crypto";
import { once } from "node:events";
import WebSocket from "ws";

const [url, tool, args = "{}"] = process.argv.slice(2);
const token = process.env.BUS_TOKEN;

const socket = new WebSocket(url);
const send = (frame) => socket.send(JSON.stringify(frame));

socket.on("error", (error) => fail(error.message));
socket.on("open", () => send({ op: "hello", token }));
socket.on("message", async (data) => {
  const frame = JSON.parse(data);
  if (frame.op === "hello_ack" && !frame.ok) fail(`refused: ${frame.error}`);
  else if (frame.op === "hello_ack" && tool === undefined) send({ op: "list_tools" });
  else if (frame.op === "hello_ack")
    send({ op: "call_tool", request_id: "1", name: tool, arguments: JSON.parse(args) });
  else if (frame.op === "list_tools_res") await end(JSON.stringify(frame.tools, null, 2) + "\n");
  else if (frame.op === "call_tool_res") await result(frame); // others: call_tool_ack, progress
});

async function result(frame) {
  if (frame.error) fail(`${frame.error.code}: ${frame.error.message}`);
  else if (frame.delivery === "reference") await redeem(frame.retrieval);
  else await end(frame.outputs.map((output) => output.text).join("\n\n"));
}

// Fetches the payload from the daemon that sent the claim, and checks every byte of it.
async function redeem({ path, sha256 }) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(url.replace(/^ws/, "http").replace(/\/$/, "") + path, { headers });
  if (!response.ok) return fail(`HTTP ${response.status}`);
  const digest = createHash("sha256");
  for await (const chunk of response.body) {
    digest.update(chunk);
    if (!process.stdout.write(chunk)) await once(process.stdout, "drain");
  }
  if (digest.digest("hex") !== sha256) return fail("the payload is damaged");
  await end("");
}

async function end(text) {
  process.stdout.write(text);
  socket.close();
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
  socket.close();
}
