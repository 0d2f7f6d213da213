// Starts a proxmox-mcp under test on a free port.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const FIRST_LINE = /proxmox-mcp \S+ listening on (http:\S+)/;
// Long enough for a busy machine.
const START_MILLISECONDS = 30_000;

// Runs `use(url, pid)` with a server, and ends the server afterwards.
export async function withServer(binary, args, environment, use) {
  const child = spawn(binary, [...args, "--listen", "127.0.0.1:0"], {
    env: { PATH: process.env.PATH, ...environment }, stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  let errors = "";
  child.stderr.on("data", (bytes) => { errors += bytes; });
  try {
    const url = await new Promise((resolve, reject) => {
      createInterface(child.stdout).on("line", (line) => {
        const found = FIRST_LINE.exec(line);
        if (found) resolve(found[1]);
      });
      ended.then((code) => reject(new Error(`the server ended with ${code}: ${errors}`)));
      setTimeout(() => reject(new Error(`the server named no address: ${errors}`)), START_MILLISECONDS).unref();
    });
    return await use(url, child.pid);
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}
