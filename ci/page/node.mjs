// A fake Proxmox node: as many guests as a test needs, and names that are HTML wherever a node has a text.
import { withLoopback } from "./loopback.mjs";

export const HOSTILE = '<img src=x onerror="window.wasAttacked=1"><script>window.wasAttacked=1</script>';
const GIB = 2 ** 30;
const TOKEN = "ci@pve!page=ca11ab1e-5ec2-4e70-9bad-c0ffee5ec2e7";

export const CLUSTER = (url) => ({
  url, user: "ci@pve", token_id: "page", token_secret: TOKEN.split("=")[1], access: "full",
});

// Returns the answers of the paths. `text` is in every field that is a free text.
function answers(guests, text) {
  const upid = "UPID:alpha1:00000446:15419EB0:6B0AAC43:qmstart:100:root@pam:";
  const node = { node: "alpha1", status: "online", cpu: 0.2, maxcpu: 8, mem: 9 * GIB, maxmem: 32 * GIB, disk: 11 * GIB,
    maxdisk: 94 * GIB, uptime: 86400, level: text };
  const rows = Array.from({ length: guests }, (_, n) => ({
    type: n % 4 ? "qemu" : "lxc", id: `${n % 4 ? "qemu" : "lxc"}/${100 + n}`, vmid: 100 + n, node: "alpha1", status: "running",
    name: text ? `${text}${n}` : `guest-${n}`, cpu: 0.1, maxcpu: 2, mem: GIB, maxmem: 2 * GIB, disk: 0, maxdisk: 8 * GIB,
    uptime: 3600, netin: 0, netout: 0, diskread: 0, diskwrite: 0, template: 0, tags: text || "web;prod", pool: text || "prod",
    hastate: text, lock: text,
  }));
  const points = [1, 2, 3].map((n) => ({ time: 1795859580 + 60 * n, cpu: 0.1 * n, mem: GIB, maxmem: 2 * GIB, netin: n, netout: n }));
  return {
    "/version": { version: "9.1.2", release: "9.1", repoid: "0123456789abcdef" },
    "/nodes": [{ ...node, type: "node", id: "node/alpha1", ssl_fingerprint: "AB:".repeat(31) + "AB" }],
    "/cluster/resources": [...rows, { ...node, type: "node", id: "node/alpha1" },
      { type: "storage", id: "storage/alpha1/local", storage: text || "local", node: "alpha1", shared: 0, status: "available",
        plugintype: "dir", content: "backup", disk: GIB, maxdisk: 94 * GIB }],
    "/cluster/tasks": [{ upid, node: "alpha1", type: text || "qmstart", id: text || "100", user: text || "root@pam", starttime: 1795861571,
      endtime: 1795861572, status: text || "OK" }],
    [`/nodes/alpha1/tasks/${upid}/log`]: [{ n: 1, t: `ERROR: ${text}` }, { n: 2, t: `TASK ERROR: ${text}` }],
    [`/nodes/alpha1/tasks/${upid}/status`]: { upid, node: "alpha1", pid: 1094, pstart: 1, starttime: 1795861571, type: "qmstart",
      id: "100", user: "root@pam", status: "stopped", exitstatus: text || "OK" },
    "/nodes/alpha1/qemu/101/status/current": { status: "stopped", qmpstatus: text || "stopped", name: text, vmid: 101, lock: text },
    "/nodes/alpha1/qemu/101/config": { name: text, description: text, tags: text, [text || "memory"]: text, digest: "0" },
    "/nodes/alpha1/qemu/101/snapshot": [{ name: text || "before", description: text, snaptime: 1795859580 }],
    "/nodes/alpha1/qemu/101/rrddata": points,
    [`/nodes/alpha1/storage/${text || "local"}/content`]: [{ volid: text || "local:backup/x", ctime: 1795859580, size: GIB, notes: text,
      content: "backup", vmid: 101, format: "vma.zst" }],
  };
}

// The ways in which a node does not answer as it should.
const SICK = {
  hangs: () => {},
  forbids: (response) => {
    response.writeHead(403, "Permission check failed (/, Sys.Audit)", { "Content-Type": "application/json;charset=UTF-8" });
    response.end('{"data":null}');
  },
  "answers HTML": (response) => {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end("<!DOCTYPE html><html><body><h1>Welcome to the proxy</h1></body></html>");
  },
};

// Runs `use(url)` with a node. `changes` gets each request that is no read. While `control.sickness` is a word of SICK, every
// answer is like that.
export async function withNode({ guests, text = "", changes = [], control = {} }, use) {
  const known = answers(guests, text);
  return withLoopback((request, response) => {
    if (control.sickness) {
      SICK[control.sickness](response);
      return;
    }
    if (request.method !== "GET") {
      changes.push(`${request.method} ${request.url}`);
      response.setHeader("Content-Type", "application/json;charset=UTF-8");
      response.end(JSON.stringify({ data: "UPID:alpha1:00000446:15419EB0:6B0AAC43:qmdestroy:101:ci@pve!page:" }));
      return;
    }
    const path = decodeURIComponent(request.url.split("?")[0]).replace("/api2/json", "");
    const query = new URLSearchParams(request.url.split("?")[1]);
    const isKnown = request.headers.authorization === `PVEAPIToken=${TOKEN}`;
    let value = isKnown ? known[path] : undefined;
    const kind = query.get("type");
    if (value && path === "/cluster/resources" && kind) {
      value = value.filter((row) => row.type === kind || (kind === "vm" && row.vmid));
    }
    response.statusCode = isKnown ? (value === undefined ? 501 : 200) : 401;
    response.setHeader("Content-Type", "application/json;charset=UTF-8");
    response.end(JSON.stringify({ data: value ?? null }));
  }, use);
}
