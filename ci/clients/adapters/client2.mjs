// Adapter for npm's @modelcontextprotocol/client 2.x. It asks for the newest protocol first and falls back.

import { load, serve } from "./lines.mjs";

const CLIENT = "@modelcontextprotocol/client";
const { Client, SSEClientTransport, StreamableHTTPClientTransport } = await load(CLIENT);
const { StdioClientTransport } = await load(`${CLIENT}/stdio`);

const TRANSPORTS = {
  http: (url) => new StreamableHTTPClientTransport(new URL(url)),
  sse: (url) => new SSEClientTransport(new URL(url)),
  stdio: (command, ...args) => new StdioClientTransport({ command, args }),
};

const [kind, ...target] = process.argv.slice(2);
const client = new Client({ name: "client2", version: "1" }, { versionNegotiation: { mode: "auto" } });
await client.connect(TRANSPORTS[kind](...target));
await serve(client, client.getNegotiatedProtocolVersion());
