// Two servers: one with the demo cluster, and one whose clients need a person's approval for calls to it.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withServer } from "./server.mjs";

// Returns the entry of a client of clusters.json.
export const clientEntry = (token, more) => ({ token_sha256: createHash("sha256").update(token).digest("hex"), access: "full", ...more });

// Runs `use(url)` with a server of this configuration.
export async function withConfig(binary, config, use) {
  const folder = await mkdtemp(join(tmpdir(), "proxmox-mcp-page-"));
  try {
    const file = join(folder, "clusters.json");
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    return await withServer(binary, ["--config", file], {}, use);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

// Runs `use(url)` with a server whose cluster `demo` is that of another server with --demo.
export async function withApprovalDemo(binary, clients, use) {
  await withServer(binary, ["--demo"], {}, async (_url, _pid, findLine) => {
    const [, api, password] = await findLine(/--url (http:\S+), as root@pam with the password (\S+)/);
    const token_secret = await makeToken(api, password);
    const demo = { url: api, user: "root@pam", token_id: "page", token_secret, access: "full", confirm_by: "operator" };
    await withConfig(binary, { clusters: { demo }, clients }, use);
  });
}

// Makes a token of the demo cluster, and returns its secret.
async function makeToken(api, password) {
  const post = async (path, parameters, headers) => {
    const response = await fetch(`${api}/api2/json${path}`, { method: "POST", headers, body: new URLSearchParams(parameters) });
    return (await response.json()).data;
  };
  const { ticket, CSRFPreventionToken } = await post("/access/ticket", { username: "root@pam", password });
  const headers = { Cookie: `PVEAuthCookie=${ticket}`, CSRFPreventionToken };
  return (await post("/access/users/root@pam/token/page", { privsep: "0" }, headers)).value;
}
