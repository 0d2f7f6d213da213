// Starts a proxmox-mcp under test on a free port.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const FIRST_LINE = /proxmox-mcp \S+ listening on (http:\S+)/;
// Long enough for a busy machine.
const START_MILLISECONDS = 30_000;

// Runs `use(url, pid, findLine)` with a server, and ends the server afterwards. `findLine(expression)` waits for a line of its
// output.
export async function withServer(binary, args, environment, use) {
  const child = spawn(binary, [...args, "--listen", "127.0.0.1:0"], {
    env: { PATH: process.env.PATH, ...environment }, stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  let errors = "";
  child.stderr.on("data", (bytes) => { errors += bytes; });
  const lines = [];
  const output = createInterface(child.stdout).on("line", (line) => lines.push(line));
  const findLine = (expression) => new Promise((resolve, reject) => {
    const search = () => {
      const found = lines.map((line) => expression.exec(line)).find(Boolean);
      if (found) resolve(found);
    };
    output.on("line", search);
    ended.then((code) => reject(new Error(`the server ended with ${code}: ${errors}`)));
    setTimeout(() => reject(new Error(`the server wrote no line ${expression}: ${errors}`)), START_MILLISECONDS).unref();
    search();
  });
  try {
    const [, url] = await findLine(FIRST_LINE);
    return await use(url, child.pid, findLine);
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}
