// Adapter for npm's @modelcontextprotocol/sdk 1.x: see session.py for the lines.
// NODE_MODULES names the folder to import it from, which Node doesn't look for by itself.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.NODE_MODULES + "/");
const load = (name) => import(pathToFileURL(require.resolve("@modelcontextprotocol/sdk/client/" + name)));
const { Client } = await load("index.js");
const { SSEClientTransport } = await load("sse.js");

const TRANSPORTS = { sse: (url) => new SSEClientTransport(new URL(url)) };

const say = (line) => console.log(JSON.stringify(line));
const [kind, target] = process.argv.slice(2);
const client = new Client({ name: "sdk1", version: "1" });
const transport = TRANSPORTS[kind](target);
// Called by the client with what was agreed on; the client itself doesn't tell.
let protocol = null;
const told = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => {
  protocol = version;
  told?.(version);
};
await client.connect(transport);
say({ server: client.getServerVersion().name, protocol });

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (request.list) {
    say({ tools: (await client.listTools()).tools.map((tool) => tool.name) });
    continue;
  }
  const result = await client.callTool({ name: request.call, arguments: request.arguments });
  const texts = result.content.filter((part) => part.type === "text").map((part) => part.text);
  say({ text: texts.join("\n"), structured: result.structuredContent ?? null, is_error: result.isError ?? false });
}
await client.close();
