// A web page that is an MCP client with views: the host of the package ext-apps, in a browser, served from loopback.
import { readFile } from "node:fs/promises";
import { withLoopback } from "./loopback.mjs";
import { dirname, join, normalize } from "node:path";
import { createRequire } from "node:module";

const MODULES = join(dirname(createRequire(import.meta.url).resolve("zod/package.json")), "..");
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".html": "text/html" };

const IMPORTS = {
  "zod/v4": "/zod/v4/index.js",
  "@modelcontextprotocol/core": "/@modelcontextprotocol/core/dist/index.mjs",
  "@modelcontextprotocol/core/internal": "/@modelcontextprotocol/core/dist/internal.mjs",
  "@modelcontextprotocol/client": "/@modelcontextprotocol/client/dist/index.mjs",
  "@modelcontextprotocol/client/_shims": "/@modelcontextprotocol/client/dist/shimsBrowser.mjs",
  "@modelcontextprotocol/ext-apps/app-bridge": "/@modelcontextprotocol/ext-apps/dist/src/app-bridge.js",
  "pkce-challenge": "/pkce-challenge/dist/index.browser.js",
  "eventsource": "/eventsource/dist/index.js",
  "eventsource-parser": "/eventsource-parser/dist/index.js",
  "eventsource-parser/stream": "/eventsource-parser/dist/stream.js",
};

// The host connects, calls a tool, and shows the view that the tool names. The frame has the policy that a host must use
// for a view that declares no domains.
const HOST = `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>host</title>
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<iframe id="view" title="view" sandbox="allow-scripts" style="width:700px;height:900px"></iframe>
<script type="module">
import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
const POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'none'";
window.showView = async (url, token, tool, args) => {
  const client = new Client({ name: "host", version: "1" }, { capabilities: { extensions: {
    "io.modelcontextprotocol/ui": { mimeTypes: ["text/html;profile=mcp-app"] } } } });
  await client.connect(new StreamableHTTPClientTransport(new URL("/mcp", url), {
    requestInit: { headers: { Authorization: "Bearer " + token } } }));
  const listed = (await client.listTools()).tools;
  const definition = listed.find((each) => each.name === tool);
  const result = await client.callTool({ name: tool, arguments: args });
  const uri = definition._meta?.ui?.resourceUri ?? result._meta?.ui?.resourceUri;
  const { contents: [view] } = await client.readResource({ uri });
  const frame = document.getElementById("view");
  const bridge = new AppBridge(client, { name: "host", version: "1" }, { serverTools: {}, serverResources: {} },
    { hostContext: { theme: "dark", displayMode: "inline" } });
  const calls = [];
  const forward = client.callTool.bind(client);
  client.callTool = (params, ...rest) => { calls.push(params.name); return forward(params, ...rest); };
  const request = client.request.bind(client);
  client.request = (message, ...rest) => { if (message.method === "tools/call") calls.push(message.params.name); return request(message, ...rest); };
  const initialized = new Promise((resolve) => { bridge.oninitialized = resolve; });
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  const html = view.text.replace("<head>", '<head><meta http-equiv="Content-Security-Policy" content="' + POLICY + '">');
  frame.srcdoc = html;
  await initialized;
  await bridge.sendToolInput({ arguments: args });
  await bridge.sendToolResult(result);
  window.calls = calls;
  return { uri, mimeType: view.mimeType, version: client.getNegotiatedProtocolVersion?.() };
};
window.isReady = true;
</script></html>`;

// Runs `use(url)` with the server of the host's page.
export async function withHost(use) {
  return withLoopback(async (request, response) => {
    const path = normalize(request.url.split("?")[0]);
    if (path === "/") { response.setHeader("Content-Type", "text/html"); response.end(HOST); return; }
    try {
      const bytes = await readFile(join(MODULES, path));
      response.setHeader("Content-Type", TYPES[path.slice(path.lastIndexOf("."))] ?? "application/octet-stream");
      response.end(bytes);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  }, use);
}
