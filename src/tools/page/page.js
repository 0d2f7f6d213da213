"use strict";
// One script for two homes. At GET / it calls POST /mcp with the token that the person typed. As a view of an MCP client
// it sends the same calls to its host (MCP Apps). Every text of a cluster becomes a text node, never HTML.
(() => {
const PROTOCOL = "2026-07-28";
const APPS_PROTOCOL = "2026-01-26";
const TOKEN_KEY = "proxmox-mcp-token";
const MAX_CALLS = 4;
const MAX_ROWS = 200;
const SVG = "http" + "://www.w3.org/2000/svg";
const IN_HOST = window.parent !== window;

const byId = (id) => document.getElementById(id);

// Creates an element. Children that are not elements become text.
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined)
    .map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

function svg(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}

const button = (text, run, attributes) => el("button", { type: "button", on: { click: run }, ...attributes }, text);

// Replaces the children of a node, and keeps the focus on the control with the same key.
function fill(node, ...children) {
  const key = node.contains(document.activeElement) ? document.activeElement.getAttribute("data-key") : null;
  node.replaceChildren(...children.flat().filter(Boolean));
  if (key) [...node.querySelectorAll("[data-key]")].find((each) => each.getAttribute("data-key") === key)?.focus();
}

// ---- Bridges ----

class CallError extends Error {}

const httpBridge = {
  nextId: 1,
  async request(path, method, body, headers) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    let response;
    try {
      response = await fetch(new URL(path, location.origin + location.pathname.replace(/[^/]*$/, "")), {
        method, body, credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer",
        headers: { Authorization: "Bearer " + (token || ""), Accept: "application/json",
          ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
      });
    } catch {
      throw new CallError("the server does not answer");
    }
    if (response.status === 401 || response.status === 429) {
      const answer = await response.json().catch(() => ({}));
      // Only the first answer tells the reason: later requests have no token, or that of another sign-in.
      if (token !== null && sessionStorage.getItem(TOKEN_KEY) === token) {
        leave(String(answer.error_description || "The server rejected the token."));
      }
      throw new CallError("not signed in");
    }
    return response;
  },
  async call(name, args) {
    const params = { name, arguments: args, _meta: {
      "io.modelcontextprotocol/protocolVersion": PROTOCOL,
      "io.modelcontextprotocol/clientInfo": { name: "proxmox-mcp page", version: "1" },
      "io.modelcontextprotocol/clientCapabilities": { extensions: {
        "io.modelcontextprotocol/ui": { mimeTypes: ["text/html;profile=mcp-app"] } } } } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: this.nextId++, method: "tools/call", params });
    const response = await this.request("mcp", "POST", body,
      { "MCP-Protocol-Version": PROTOCOL, "Mcp-Method": "tools/call", "Mcp-Name": name });
    const text = await response.text();
    let answer;
    try { answer = JSON.parse(text); } catch { throw new CallError(text || "status " + response.status); }
    if (answer.error) throw new CallError(String(answer.error.message));
    return answer.result || {};
  },
};

const hostBridge = {
  nextId: 1,
  waiting: new Map(),
  send(message) { window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*"); },
  request(method, params) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.send({ id, method, params });
    });
  },
  call(name, args) { return this.request("tools/call", { name, arguments: args }); },
  receive(event) {
    const message = event.data;
    if (event.source !== window.parent || !message || message.jsonrpc !== "2.0") return;
    if (message.method === undefined) {
      const waiting = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (!waiting) return;
      if (message.error) waiting.reject(new CallError(String(message.error.message)));
      else waiting.resolve(message.result || {});
    } else if (message.method === "ui/notifications/tool-input") {
      openTarget((message.params || {}).arguments || {});
    } else if (message.method === "ui/notifications/host-context-changed") {
      applyContext(message.params || {});
    } else if (message.id !== undefined) {
      if (message.method === "ui/resource-teardown") clearTimeout(timer);
      const known = message.method === "ping" || message.method === "ui/resource-teardown";
      this.send(known ? { id: message.id, result: {} }
        : { id: message.id, error: { code: -32601, message: "method not found" } });
    }
  },
  async start() {
    window.addEventListener("message", (event) => this.receive(event));
    const result = await this.request("ui/initialize", { protocolVersion: APPS_PROTOCOL,
      appInfo: { name: "proxmox-mcp page", version: "1" },
      appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] } });
    applyContext(result.hostContext || {});
    this.send({ method: "ui/notifications/initialized", params: {} });
    new ResizeObserver(() => this.send({ method: "ui/notifications/size-changed",
      params: { height: Math.ceil(document.documentElement.getBoundingClientRect().height) } })).observe(document.body);
  },
};

const bridge = IN_HOST ? hostBridge : httpBridge;

function applyContext(context) {
  if (context.theme === "light" || context.theme === "dark") document.documentElement.style.colorScheme = context.theme;
}

// Opens the guest whose metrics the model asked for.
function openTarget(args) {
  const found = /^\/?(?:nodes\/[^/]+\/)?(qemu|lxc)\/([^/]+)\/rrddata/.exec(String(args.path || ""));
  if (found) wanted = { type: found[1], word: decodeURIComponent(found[2]), cluster: args.cluster };
  openWanted();
}

function openWanted() {
  if (!wanted) return;
  const guest = data.guests.find((each) => each.type === wanted.type && (!wanted.cluster || each.cluster === wanted.cluster)
    && (String(each.vmid) === wanted.word || each.name === wanted.word));
  if (guest) { wanted = null; openGuest(guest); }
}

// ---- Calls ----

let running = 0;
const queue = [];

// Calls a tool, at most MAX_CALLS at once.
async function call(name, args) {
  if (running >= MAX_CALLS) await new Promise((resolve) => queue.push(resolve));
  running++;
  try {
    const result = await bridge.call(name, args);
    const text = (result.content || []).map((part) => (part.type === "text" ? part.text : "")).join("\n");
    return { failed: result.isError === true, text, structured: result.structuredContent };
  } finally {
    running--;
    queue.shift()?.();
  }
}

// Reads a path. A client without structured results has the JSON in the text, before the notes.
async function read(cluster, path, params, more) {
  const result = await call("proxmox_api_get", { cluster, path, format: "json", ...(params ? { params } : {}), ...more });
  if (result.failed) throw new CallError(result.text.split("\n\n")[0]);
  if (result.structured && "data" in result.structured) return result.structured.data;
  for (const part of [result.text.split("\n\n")[0], result.text.slice(result.text.indexOf("\n") + 1).split("\n\n")[0]]) {
    try { return JSON.parse(part); } catch { /* The next form. */ }
  }
  throw new CallError("the answer to " + path + " is not JSON");
}

const rowsOf = (value) => (Array.isArray(value) ? value : value && Array.isArray(value.data) ? value.data : []);

// Reads all rows of a list in parallel pages. A page may have fewer rows than asked for, as answers have a limit.
async function readAll(cluster, path, params, fields, onRows) {
  const page = async (offset, limit) => {
    const rows = rowsOf(await read(cluster, path, params, { fields, offset, limit }));
    onRows(rows);
    if (rows.length === 0) return false;
    return rows.length >= limit || page(offset + rows.length, limit - rows.length);
  };
  const first = rowsOf(await read(cluster, path, params, { fields }));
  onRows(first);
  if (first.length < 25) return;
  const size = Math.max(10, Math.floor(first.length * 0.9));
  for (let offset = first.length; ; offset += MAX_CALLS * size) {
    const pages = await Promise.all(Array.from({ length: MAX_CALLS }, (_, n) => page(offset + n * size, size)));
    if (pages.includes(false)) return;
  }
}

// ---- Data ----

const data = { clusters: [], nodes: [], guests: [], storages: [], tasks: [], overview: "", problems: new Map() };
let wanted = null;
let current = { name: "overview" };
let timer = 0;
let loads = 0;

async function tryTo(key, run) {
  try {
    await run();
    data.problems.delete(key);
  } catch (error) {
    data.problems.set(key, error instanceof CallError ? error.message : "unexpected: " + error);
  }
}

async function loadClusters() {
  const result = await call("list_clusters", {});
  if (result.failed) throw new CallError(result.text);
  data.clusters = result.structured && result.structured.rows
    ? result.structured.rows.map((row) => String(row[result.structured.columns.indexOf("name")]))
    : result.text.split("\n\n")[0].trim().split("\n").slice(1).map((line) => line.split("\t")[0]);
}

const RESOURCE_FIELDS = "type,id,node,name,vmid,status,cpu,maxcpu,mem,maxmem,uptime,tags,pool,template,lock,hastate,"
  + "storage,shared,disk,maxdisk,content";

async function loadResources(cluster, isFirst) {
  const found = { node: [], guest: [], storage: [] };
  const store = () => {
    const others = (list) => list.filter((each) => each.cluster !== cluster);
    data.nodes = [...others(data.nodes), ...found.node];
    data.guests = [...others(data.guests), ...found.guest];
    data.storages = [...others(data.storages), ...found.storage];
  };
  await readAll(cluster, "/cluster/resources", undefined, RESOURCE_FIELDS, (rows) => {
    for (const row of rows) {
      const kind = row.type === "qemu" || row.type === "lxc" ? "guest" : row.type;
      if (found[kind]) found[kind].push({ ...row, cluster });
    }
    if (isFirst) { store(); render(); }
  });
  store();
}

async function loadTasks(cluster) {
  const rows = rowsOf(await read(cluster, "/cluster/tasks", undefined, { limit: 80 }));
  data.tasks = [...data.tasks.filter((task) => task.cluster !== cluster), ...rows.map((row) => ({ ...row, cluster }))]
    .sort((a, b) => (a.endtime ? 1 : 0) - (b.endtime ? 1 : 0) || b.starttime - a.starttime);
}

async function load() {
  clearTimeout(timer);
  const load = ++loads;
  const isFirst = data.guests.length === 0;
  await tryTo("clusters", loadClusters);
  await Promise.all(data.clusters.flatMap((cluster) => [
    tryTo(cluster + ": resources", () => loadResources(cluster, isFirst)),
    tryTo(cluster + ": tasks", () => loadTasks(cluster)),
  ]).concat([
    tryTo("approvals", loadApprovals),
    current.name === "overview" ? tryTo("overview", async () => {
      data.overview = (await call("get_cluster_resources", { type: "overview" })).text.split("\n\n(")[0];
    }) : null,
    current.name === "guest" ? tryTo("guest", loadGuest) : null,
    current.task ? tryTo("task", loadLog) : null,
  ]));
  if (load !== loads) return;
  openWanted();
  render();
  schedule();
}

function schedule() {
  clearTimeout(timer);
  const isLive = data.tasks.some((task) => !task.endtime) || current.name === "approvals";
  if (!IN_HOST && !sessionStorage.getItem(TOKEN_KEY)) return;
  timer = setTimeout(() => (document.hidden ? schedule() : load()), isLive ? 3000 : 10000);
}

// ---- Texts ----

function bytes(value) {
  if (!(value >= 0)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let n = 0;
  while (value >= 1024 && n < units.length - 1) { value /= 1024; n++; }
  return (value >= 100 || n === 0 ? Math.round(value) : value.toFixed(1)) + " " + units[n];
}
const percent = (share) => (share >= 0 ? Math.round(share * 100) + " %" : "–");
function duration(seconds) {
  if (!(seconds > 0)) return "–";
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  return days ? days + " d " + hours + " h" : hours ? hours + " h " + minutes + " min" : minutes ? minutes + " min" : seconds + " s";
}
const two = (n) => String(n).padStart(2, "0");
function time(seconds) {
  if (!(seconds > 0)) return "–";
  const at = new Date(seconds * 1000);
  return at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate()) + " " + two(at.getHours()) + ":" + two(at.getMinutes());
}
const tagsOf = (guest) => String(guest.tags || "").split(/[;, ]+/).filter(Boolean);
const guestLabel = (guest) => (guest.type === "lxc" ? "CT " : "VM ") + guest.vmid + (guest.name ? " " + guest.name : "");

function stateOf(row) {
  const good = row.status === "running" || row.status === "online" || row.status === "available";
  return el("span", { class: "state " + (good ? "good" : row.status === "stopped" ? "soft" : "bad") },
    (good ? "● " : "○ ") + (row.template ? "template" : row.status || "unknown"), row.lock ? " (" + row.lock + ")" : "");
}

function measure(label, share, detail) {
  const value = Math.min(100, Math.max(0, Math.round((share || 0) * 100)));
  const inner = el("span");
  inner.style.width = value + "%";
  return el("div", { class: "measure" }, el("span", { "aria-hidden": "true" }, label),
    el("div", { class: "bar" + (value >= 90 ? " bad" : value >= 75 ? " warn" : ""), role: "meter", "aria-label": label,
      "aria-valuenow": value, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuetext": value + " % " + detail }, inner),
    el("span", { class: "soft" }, detail));
}

// ---- Views ----

const VIEWS = [["overview", "Overview"], ["guests", "Guests"], ["tasks", "Tasks"]];

function show(next, isBack) {
  current = next;
  if (!IN_HOST && !isBack) history.pushState(next, "", "#" + next.name);
  build();
  render();
  byId("view").querySelector("h2")?.focus();
  if (next.name === "overview" && !data.overview) load(); else schedule();
}

function renderTabs() {
  const views = data.approvals ? [...VIEWS, ["approvals", "Approvals"]] : VIEWS;
  const here = current.name === "guest" ? "guests" : current.name;
  fill(byId("tabs"), views.map(([name, label]) => button(
    name === "approvals" ? label + " (" + data.approvals.length + ")" : label, () => show({ name }),
    { "aria-current": here === name ? "page" : null, "data-key": "tab-" + name })));
}

// Builds what stays while the data changes: the tabs and the controls of a view.
function build() {
  renderTabs();
  const view = byId("view");
  const title = { overview: "Overview", guests: "Guests", tasks: "Tasks", approvals: "Approvals" }[current.name];
  view.replaceChildren(el("h2", { tabindex: -1 }, title || guestLabel(current.guest)),
    current.name === "guests" ? guestTools() : "", el("div", { id: "body" }));
}

function render() {
  if (byId("enter").hidden === false) return;
  if (!byId("body")) build();
  fill(byId("problems"), [...data.problems].map(([key, text]) => el("li", {}, key === "guest" || key === "task" ? text : key + ": " + text)));
  const body = byId("body");
  ({ overview: renderOverview, guests: renderGuests, guest: renderGuest, tasks: renderTasks, approvals: renderApprovals })[current.name](body);
}

function renderOverview(body) {
  const clusters = data.clusters.map((cluster) => {
    const nodes = data.nodes.filter((node) => node.cluster === cluster).sort((a, b) => (a.node < b.node ? -1 : 1));
    const guests = data.guests.filter((guest) => guest.cluster === cluster && !guest.template);
    const shared = new Set();
    const storages = data.storages.filter((storage) => storage.cluster === cluster && storage.maxdisk > 0
      && !(storage.shared && shared.has(storage.storage)) && shared.add(storage.shared ? storage.storage : storage.id));
    const online = nodes.filter((node) => node.status === "online").length;
    const up = guests.filter((guest) => guest.status === "running").length;
    return el("section", { "aria-label": "Cluster " + cluster },
      el("h3", {}, cluster, " ", el("span", { class: "soft" },
        online + " of " + nodes.length + " nodes online, " + up + " of " + guests.length + " guests running")),
      el("div", { class: "cards" }, nodes.map((node) => el("div", { class: "card" },
        el("div", { class: "head" }, el("strong", {}, node.node), stateOf(node)),
        measure("Load", node.cpu, percent(node.cpu) + " of " + (node.maxcpu || "–") + " CPUs"),
        measure("Memory", node.mem / node.maxmem, bytes(node.mem) + " of " + bytes(node.maxmem)),
        measure("Disk", node.disk / node.maxdisk, bytes(node.disk) + " of " + bytes(node.maxdisk)),
        el("div", { class: "soft" }, "up " + duration(node.uptime))))),
      storages.length ? el("div", { class: "card" }, el("h4", { class: "soft" }, "Storages"), storages.map((storage) =>
        measure(storage.storage + (storage.shared ? "" : " " + storage.node), storage.disk / storage.maxdisk,
          bytes(storage.disk) + " of " + bytes(storage.maxdisk)))) : null);
  });
  fill(body, clusters, el("section", { class: "card", "aria-label": "What needs attention" },
    el("h3", {}, "What needs attention"), el("pre", {}, data.overview || "Reading …")));
}

const filters = { text: "", cluster: "", node: "", state: "", tag: "" };
let order = { by: "vmid", down: false };
let rowLimit = MAX_ROWS;

function guestTools() {
  const search = el("input", { type: "search", id: "search", value: filters.text, "data-key": "search",
    on: { input: (event) => { filters.text = event.target.value; rowLimit = MAX_ROWS; render(); } } });
  return el("div", { class: "tools", role: "search" }, el("label", {}, "Search (/)", search), el("div", { id: "filters", class: "tools" }));
}

function filterSelect(key, label, values) {
  if (filters[key] && !values.includes(filters[key])) values = [...values, filters[key]];
  const select = el("select", { "data-key": "filter-" + key,
    on: { change: (event) => { filters[key] = event.target.value; rowLimit = MAX_ROWS; render(); } } },
    ["", ...values].map((value) => el("option", { value, selected: filters[key] === value }, value || "all")));
  return el("label", {}, label, select);
}

function matchingGuests() {
  const words = filters.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = data.guests.filter((guest) => (!filters.cluster || guest.cluster === filters.cluster)
    && (!filters.node || guest.node === filters.node) && (!filters.state || guest.status === filters.state)
    && (!filters.tag || tagsOf(guest).includes(filters.tag))
    && words.every((word) => [guest.vmid, guest.name, guest.node, guest.status, guest.tags, guest.pool, guest.type]
      .some((value) => String(value ?? "").toLowerCase().includes(word))));
  const key = { mem: (guest) => guest.mem / guest.maxmem || 0 }[order.by] || ((guest) => guest[order.by] ?? "");
  const compare = (a, b) => { const [x, y] = [key(a), key(b)]; return x < y ? -1 : x > y ? 1 : a.vmid - b.vmid; };
  return found.sort((a, b) => (order.down ? compare(b, a) : compare(a, b)));
}

function renderGuests(body) {
  const unique = (values) => [...new Set(values)].sort();
  fill(byId("filters"), [
    data.clusters.length > 1 ? filterSelect("cluster", "Cluster", data.clusters) : null,
    filterSelect("node", "Node", unique(data.guests.map((guest) => guest.node))),
    filterSelect("state", "State", unique(data.guests.map((guest) => String(guest.status)))),
    filterSelect("tag", "Tag", unique(data.guests.flatMap(tagsOf))),
  ]);
  const found = matchingGuests();
  const columns = [["vmid", "Guest"], ["status", "State"], ["node", "Node"], ["cpu", "CPU", "number"],
    ["mem", "Memory", "number"], ["uptime", "Uptime", "number wide"], ["tags", "Tags", "wide"]];
  const head = columns.map(([by, label, kind]) => el("th", { scope: "col", class: kind,
    "aria-sort": order.by === by ? (order.down ? "descending" : "ascending") : null },
    button(label + (order.by === by ? (order.down ? " ↓" : " ↑") : ""), () => {
      order = { by, down: order.by === by ? !order.down : kind === "number" };
      render();
    }, { "data-key": "sort-" + by })));
  const rows = found.slice(0, rowLimit).map((guest) => el("tr", {},
    el("th", { scope: "row" }, button(guestLabel(guest), () => openGuest(guest), { class: "link", "data-key": guest.cluster + guest.id }),
      data.clusters.length > 1 ? el("div", { class: "soft" }, guest.cluster) : null),
    el("td", {}, stateOf(guest)), el("td", {}, guest.node),
    el("td", { class: "number" }, guest.status === "running" ? percent(guest.cpu) : "–"),
    el("td", { class: "number" }, guest.status === "running" ? percent(guest.mem / guest.maxmem) : "–"),
    el("td", { class: "number wide" }, duration(guest.uptime)),
    el("td", { class: "wide" }, tagsOf(guest).map((tag) => el("span", { class: "tag" }, tag)))));
  say(found.length + " guests");
  fill(body, el("p", { class: "soft" }, found.length + " of " + data.guests.length + " guests"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Guests" },
      el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows))),
    found.length > rowLimit ? el("div", { class: "row" }, button("Show " + Math.min(MAX_ROWS, found.length - rowLimit) + " more",
      () => { rowLimit += MAX_ROWS; render(); }, { "data-key": "more" })) : null);
}

function openGuest(guest) {
  show({ name: "guest", guest, frame: "hour" });
  load();
}

async function loadGuest() {
  const { guest, frame } = current;
  const base = "/nodes/" + encodeURIComponent(guest.node) + "/" + guest.type + "/" + guest.vmid;
  const view = current;
  const part = (name, run) => tryTo("guest " + name, async () => { view[name] = await run(); });
  const storages = data.storages.filter((storage) => storage.cluster === guest.cluster && storage.node === guest.node
    && String(storage.content || "").split(",").includes("backup"));
  await Promise.all([
    part("status", () => read(guest.cluster, base + "/status/current")),
    part("config", () => read(guest.cluster, base + "/config")),
    guest.template ? null : part("snapshots", async () => rowsOf(await read(guest.cluster, base + "/snapshot"))),
    part("points", async () => {
      const points = [];
      await readAll(guest.cluster, base + "/rrddata", { timeframe: frame }, "time,cpu,mem,maxmem,netin,netout,diskread,diskwrite",
        (rows) => points.push(...rows));
      return points.sort((a, b) => a.time - b.time);
    }),
    part("backups", async () => (await Promise.all(storages.map(async (storage) => rowsOf(await read(guest.cluster,
      "/nodes/" + encodeURIComponent(guest.node) + "/storage/" + encodeURIComponent(storage.storage) + "/content",
      { content: "backup", vmid: guest.vmid }))))).flat().sort((a, b) => b.ctime - a.ctime)),
  ]);
}

const SHOWN_STATUS = [["qmpstatus", "State"], ["uptime", "Uptime", duration], ["cpu", "CPU", percent], ["cpus", "CPUs"],
  ["mem", "Memory used", bytes], ["maxmem", "Memory", bytes], ["maxdisk", "Disk", bytes], ["lock", "Lock"]];

function pairs(entries) {
  return el("dl", {}, entries.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function card(title, ...children) {
  return el("section", { class: "card", "aria-label": title }, el("h3", {}, title), ...children);
}

function renderGuest(body) {
  const { guest, status, config, snapshots, backups, points } = current;
  const found = data.guests.find((each) => each.cluster === guest.cluster && each.id === guest.id) || guest;
  const list = (rows, none, row) => (rows ? (rows.length ? el("ul", {}, rows.map((each) => el("li", {}, row(each))))
    : el("p", { class: "soft" }, none)) : el("p", { class: "soft" }, "Reading …"));
  fill(body,
    el("div", { class: "row" }, button("All guests", () => show({ name: "guests" }), { "data-key": "back" }),
      stateOf(found), el("span", { class: "soft" }, "on " + found.node + " of " + guest.cluster)),
    el("div", { class: "row charts" }, el("span", {}, "Charts of the last"), ["hour", "day", "week"].map((frame) =>
      button(frame, () => { current.frame = frame; current.points = null; render(); load(); },
        { "aria-pressed": current.frame === frame ? "true" : "false", "data-key": "frame-" + frame }))),
    points ? el("div", { class: "cards" },
      chart("CPU", points, [["CPU", (point) => point.cpu * 100]], (value) => Math.round(value) + " %"),
      chart("Memory", points, [["used", (point) => point.mem]], bytes, Math.max(...points.map((point) => point.maxmem || 0))),
      chart("Network", points, [["in", (point) => point.netin], ["out", (point) => point.netout]], (value) => bytes(value) + "/s"),
      chart("Disk", points, [["read", (point) => point.diskread], ["written", (point) => point.diskwrite]], (value) => bytes(value) + "/s"))
      : el("p", { class: "soft" }, "Reading …"),
    card("State", status ? pairs(SHOWN_STATUS.filter(([key]) => status[key] !== undefined)
      .map(([key, label, format]) => [label, format ? format(status[key]) : status[key]])) : el("p", { class: "soft" }, "Reading …")),
    card("Options", config ? pairs(Object.keys(config).filter((key) => key !== "digest").sort().map((key) =>
      [key, typeof config[key] === "object" ? JSON.stringify(config[key]) : config[key]])) : el("p", { class: "soft" }, "Reading …")),
    card("Snapshots", list(snapshots && snapshots.filter((each) => each.name !== "current"), "No snapshots.", (each) =>
      each.name + (each.snaptime ? ", " + time(each.snaptime) : "") + (each.description ? ": " + each.description : ""))),
    card("Backups", list(backups, "No backups on the storages of this node.", (each) =>
      time(each.ctime) + ", " + bytes(each.size) + ", " + each.volid + (each.notes ? ": " + each.notes : ""))));
}

// Draws the series as lines over time.
function chart(title, points, series, format, top) {
  const [width, height, left] = [320, 120, 6];
  const known = points.filter((point) => series.some(([, value]) => value(point) >= 0));
  const values = known.flatMap((point) => series.map(([, value]) => value(point)).filter((value) => value >= 0));
  if (values.length === 0) return card(title, el("p", { class: "soft" }, "No values in this time."));
  const max = Math.max(top || 0, ...values) || 1;
  const [from, to] = [known[0].time, known[known.length - 1].time];
  const x = (point) => left + ((point.time - from) / (to - from || 1)) * (width - 2 * left);
  const y = (value) => height - 20 - (value / max) * (height - 40);
  const paths = series.map(([, value], n) => {
    let pen = "M";
    const line = points.map((point) => {
      if (!(value(point) >= 0)) { pen = "M"; return ""; }
      const step = pen + x(point).toFixed(1) + " " + y(value(point)).toFixed(1);
      pen = "L";
      return step;
    }).join("");
    return svg("path", { d: line, class: n ? "second" : "first" });
  });
  const last = known[known.length - 1];
  const summary = series.map(([label, value]) => label + " " + format(value(last))).join(", ");
  return card(title, svg("svg", { viewBox: "0 0 " + width + " " + height, role: "img",
    "aria-label": title + ", now " + summary + ", at most " + format(Math.max(...values)) },
    svg("line", { class: "grid", x1: left, x2: width - left, y1: y(0), y2: y(0) }),
    svg("line", { class: "grid", x1: left, x2: width - left, y1: y(max), y2: y(max) }), ...paths,
    svg("text", { x: left, y: 14 }, format(max)), svg("text", { x: left, y: height - 5 }, time(from).slice(5)),
    svg("text", { x: width - left, y: height - 5, "text-anchor": "end" }, time(to).slice(5))),
    el("div", { class: "soft" }, "now " + summary + (series.length > 1 ? " (" + series[1][0] + " is dashed)" : "")));
}

function renderTasks(body) {
  const state = (task) => (!task.endtime ? el("span", { class: "warn" }, "◐ running")
    : task.status === "OK" ? el("span", { class: "good" }, "● OK")
    : String(task.status).startsWith("WARNINGS") ? el("span", { class: "warn" }, "▲ " + task.status)
    : el("span", { class: "bad" }, "✕ " + (task.status || "unknown")));
  const rows = data.tasks.map((task) => el("tr", {},
    el("th", { scope: "row" }, button(task.type + (task.id ? " " + task.id : ""), () => openTask(task),
      { class: "link", "data-key": task.upid, "aria-expanded": current.task === task.upid ? "true" : "false" })),
    el("td", {}, state(task)), el("td", {}, task.node), el("td", { class: "wide" }, task.user),
    el("td", {}, time(task.starttime)),
    el("td", { class: "number wide" }, task.endtime ? duration(task.endtime - task.starttime || 1) : "")));
  fill(body, current.task ? taskCard() : null,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Tasks" }, el("table", {},
      el("thead", {}, el("tr", {}, [["Task"], ["State"], ["Node"], ["User", "wide"], ["Started"], ["Took", "number wide"]]
        .map(([label, kind]) => el("th", { scope: "col", class: kind }, label)))), el("tbody", {}, rows))));
  const log = byId("log");
  if (log) log.scrollTop = log.scrollHeight;
}

function openTask(task) {
  Object.assign(current, { task: task.upid, taskRow: task, log: null, ending: null });
  render();
  tryTo("task", loadLog).then(() => { render(); byId("body").scrollIntoView({ block: "start" }); });
}

async function loadLog() {
  const view = current;
  const task = data.tasks.find((each) => each.upid === view.task) || view.taskRow;
  if (view.ending) return;
  const path = "/nodes/" + encodeURIComponent(task.node) + "/tasks/" + encodeURIComponent(task.upid) + "/log";
  const lines = rowsOf(await read(task.cluster, path, { limit: 500 }));
  if (current !== view || view.task !== task.upid) return;
  view.log = lines.map((line) => line.t ?? String(line));
  if (task.endtime && task.status !== "OK") {
    view.ending = (await call("wait_for_task", { upid: task.upid, cluster: task.cluster, timeout: 1 })).text.split("\n")[0];
  } else if (task.endtime) {
    view.ending = "OK";
  }
}

// Returns the line of a failed task's log that says most: the last error, and the end of the task if there is no other.
function tellingLine(lines) {
  const kinds = [/^(ERROR|FATAL)\b/, /^(?!INFO|TASK ERROR).*(error|failed|unable|cannot|can't|denied|no space)/i, /^TASK ERROR/];
  return kinds.map((kind) => lines.filter((line) => kind.test(line)).pop()).find(Boolean);
}

function taskCard() {
  const task = data.tasks.find((each) => each.upid === current.task) || current.taskRow;
  const hasFailed = task.endtime && task.status !== "OK";
  const telling = hasFailed && current.log ? tellingLine(current.log) : null;
  return card(task.type + (task.id ? " " + task.id : "") + " on " + task.node,
    telling ? el("p", { class: "bad", id: "telling" }, telling) : null,
    hasFailed && current.ending ? el("p", {}, current.ending) : null,
    el("pre", { class: "log", id: "log", tabindex: 0, role: "log", "aria-label": "Log of the task", "data-key": "log" },
      current.log ? current.log.join("\n") : "Reading …"),
    el("div", { class: "row" }, button("Close", () => { current.task = null; render(); }, { "data-key": "close-task" })));
}

// ---- Approvals (at GET / only) ----

// Reads the calls that wait. A client that may not approve, and a server without approvals, have no such view.
async function loadApprovals() {
  if (IN_HOST || data.approvals === null) return;
  const response = await httpBridge.request("approvals", "GET");
  const had = data.approvals ? data.approvals.length : -1;
  if (response.ok) data.approvals = rowsOf((await response.json()).approvals);
  else if (response.status === 403 || response.status === 404) data.approvals = null;
  else throw new CallError(await response.text());
  const has = data.approvals ? data.approvals.length : -1;
  if (has === had) return;
  if (has > 0 && has > had) say(has + " calls wait for approval");
  if (has < 0 && current.name === "approvals") current = { name: "overview" };
  renderTabs();
}

async function decide(approval, decision) {
  approval.isDeciding = true;
  render();
  await tryTo("approvals", async () => {
    const response = await httpBridge.request("approvals", "POST", JSON.stringify({ id: approval.id, decision }));
    if (!response.ok) throw new CallError(await response.text());
    say((decision === "approve" ? "Approved " : "Denied ") + approval.id);
  });
  const problem = data.problems.get("approvals");
  await tryTo("approvals", loadApprovals);
  if (problem) data.problems.set("approvals", problem);
  render();
  byId("view").querySelector("h2").focus();
}

function renderApprovals(body) {
  const cards = (data.approvals || []).map((approval) => el("section", { class: "card", "aria-label": "Call " + approval.id },
    el("div", { class: "head" }, el("h3", {}, approval.client + " asks on " + approval.cluster),
      el("span", { class: "soft" }, "expires in " + duration(approval.expires_in_seconds))),
    el("pre", {}, approval.plan), el("p", { class: "soft" }, approval.id + ", over " + approval.transport),
    approval.approved_by ? el("p", { class: "good" }, "Approved by " + approval.approved_by + ". The client has not made the call yet.")
      : approval.own ? el("p", { class: "warn" }, "Your own client asked for this call, so another person decides.")
      : el("div", { class: "row" }, [["approve", "Approve", "yes"], ["deny", "Deny", "no"]].map(([decision, label, kind]) =>
        button(label, () => decide(approval, decision), { class: kind, disabled: approval.isDeciding,
          "aria-label": label + " call " + approval.id, "data-key": decision + approval.id })))));
  fill(body, cards.length ? cards : el("p", { class: "soft" }, "No call waits for approval."));
}

// ---- Start ----

function say(text) {
  if (byId("status").textContent !== text) byId("status").textContent = text;
}

function leave(reason) {
  sessionStorage.removeItem(TOKEN_KEY);
  clearTimeout(timer);
  loads++;
  Object.assign(data, { clusters: [], nodes: [], guests: [], storages: [], tasks: [], overview: "", approvals: undefined });
  data.problems.clear();
  byId("view").replaceChildren();
  byId("problems").replaceChildren();
  byId("tabs").hidden = byId("leave").hidden = true;
  byId("enter").hidden = false;
  byId("enter-error").textContent = reason || "";
  byId("token").focus();
}

function enter() {
  byId("enter").hidden = true;
  byId("tabs").hidden = false;
  byId("leave").hidden = IN_HOST;
  const name = location.hash.slice(1);
  if (!IN_HOST && [...VIEWS.map((view) => view[0]), "approvals"].includes(name)) current = { name };
  build();
  render();
  load();
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN_KEY, byId("token").value.trim());
  byId("token").value = "";
  enter();
});
byId("leave").addEventListener("click", () => leave(""));
byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("main").focus(); });
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !isTyping && byId("enter").hidden) {
    event.preventDefault();
    if (current.name !== "guests") show({ name: "guests" });
    byId("search").focus();
  } else if (event.key === "Escape" && current.name === "guest" && !isTyping) show({ name: "guests" });
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && byId("enter").hidden) load(); });
if (IN_HOST) {
  byId("tabs").hidden = false;
  hostBridge.start().then(enter, () => { byId("problems").append(el("li", {}, "the client shows no views")); });
} else {
  window.addEventListener("popstate", (event) => {
    if (byId("enter").hidden) show(event.state || { name: "overview" }, true);
  });
  if (sessionStorage.getItem(TOKEN_KEY)) enter(); else leave("");
}
})();
