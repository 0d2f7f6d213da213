// Adapter for npm's @modelcontextprotocol/sdk 1.x.

import { load, serve } from "./lines.mjs";

const SDK = "@modelcontextprotocol/sdk/client";
const { Client } = await load(`${SDK}/index.js`);
const { SSEClientTransport } = await load(`${SDK}/sse.js`);
const { StdioClientTransport } = await load(`${SDK}/stdio.js`);
const { StreamableHTTPClientTransport } = await load(`${SDK}/streamableHttp.js`);

const TRANSPORTS = {
  http: (url) => new StreamableHTTPClientTransport(new URL(url)),
  sse: (url) => new SSEClientTransport(new URL(url)),
  stdio: (command, ...args) => new StdioClientTransport({ command, args }),
};

const [kind, ...target] = process.argv.slice(2);
const client = new Client({ name: "sdk1", version: "1" });
const transport = TRANSPORTS[kind](...target);
// The client calls this with the negotiated version, which it does not offer otherwise.
let protocol = null;
const told = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => {
  protocol = version;
  told?.(version);
};
await client.connect(transport);
await serve(client, protocol);
