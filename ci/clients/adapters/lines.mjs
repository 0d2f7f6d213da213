// Common code of the adapters in JavaScript. session.py describes the lines.
// NODE_MODULES is the folder of the client packages, since Node does not search there.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.NODE_MODULES + "/");
export const load = (name) => import(pathToFileURL(require.resolve(name)));

const say = (line) => console.log(JSON.stringify(line));

// Answers input lines until the input ends.
export const serve = async (client, protocol) => {
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
};
