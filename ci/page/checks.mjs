// The checks of the page, each with a browser of its own.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { clientEntry, withApprovalDemo, withConfig } from "./approval_demo.mjs";
import { withHost } from "./host.mjs";
import { withLoopback } from "./loopback.mjs";
import { CLUSTER, HOSTILE, withNode } from "./node.mjs";
import { comparePicture } from "./pictures.mjs";
import { withServer } from "./server.mjs";

const TOKEN = "page-0123456789abcdef0123456789abcdef";
const ADA = "ada-0123456789abcdef0123456789abcdef0";
const BOB = "bob-0123456789abcdef0123456789abcdef0";
const GUEST = "guest-0123456789abcdef0123456789abcdef";
const DELETE = { method: "DELETE", path: "/nodes/alpha1/qemu/101" };
// How long a check waits for something to appear, on a busy machine.
const PATIENCE = 30_000;

const withDemo = (binary, use, args = []) => withServer(binary, ["--demo", ...args], { MCP_AUTH_TOKEN: TOKEN }, use);

// Clients that may approve, and one that may not. The agent is the client of TOKEN.
const CLIENTS = {
  agent: clientEntry(TOKEN, { approve: true }), ada: clientEntry(ADA, { approve: true, access: "read" }),
  bob: clientEntry(BOB, { approve: true, access: "read" }), guest: clientEntry(GUEST),
};

// Runs `use(url, pid)` with a server of one fake node. `clients` are entries of clusters.json by name.
async function withFakeNode(binary, node, use, { cluster = {}, clients = { tester: clientEntry(TOKEN) } } = {}) {
  await withNode(node, (nodeUrl) =>
    withConfig(binary, { clusters: { fake: { ...CLUSTER(nodeUrl), ...cluster } }, clients }, use));
}

// Opens the page in a new tab and signs in. Every error of the tab fails the check.
async function signIn(browser, url, token = TOKEN) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  page.on("console", (message) => {
    // A client that may not approve is told so by a 403, which the browser counts as an error.
    const isExpected = /\/(approvals|calls)$/.test(message.location().url);
    if (message.type() === "error" && !isExpected) page.errors.push(message.text() + " " + message.location().url);
  });
  page.requests = [];
  page.on("request", (request) => page.requests.push(request));
  await page.goto(url + "/");
  await page.getByLabel("Client token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  return page;
}

async function checkAccess(page, axe) {
  // The page's own policy stops injected scripts, so axe runs through the debugger.
  const violations = await page.evaluate(`${axe}; axe.run().then((result) => result.violations.map((each) =>
    each.id + ": " + each.nodes.map((node) => node.html.slice(0, 200) + " " + node.failureSummary).join(" | ")))`);
  assert.deepEqual(violations, []);
}

// Waits for all parts of the demo's overview, which come in any order.
async function overviewOf(page) {
  await page.getByText("failed tasks (2)").waitFor();
  await page.getByRole("meter", { name: "Memory" }).nth(2).waitFor();
}

async function openGuest(page, name) {
  await page.getByRole("button", { name: "Guests", exact: true }).click();
  await page.getByRole("button", { name }).click();
  await page.getByRole("img", { name: /^CPU, now/ }).waitFor();
}

export const CHECKS = {
  async "the page shows the demo and asks only its own server"({ browser, binary }) {
    await withDemo(binary, async (url) => {
      const page = await signIn(browser, url);
      await page.getByText("3 of 3 nodes online").first().waitFor();
      await overviewOf(page);
      assert.equal(await page.getByRole("meter", { name: "Memory" }).count(), 3);
      await page.keyboard.press("/");
      await page.keyboard.type("web running");
      await page.getByText("3 of 13 guests").first().waitFor();
      await page.getByLabel("Tag").selectOption("prod");
      await page.getByText("2 of 13 guests").first().waitFor();
      await page.getByRole("button", { name: "CPU" }).click();
      assert.equal(await page.getByRole("columnheader", { name: /CPU/ }).getAttribute("aria-sort"), "descending");
      await openGuest(page, "VM 100 web01");
      await page.getByText("Front end of the shop").first().waitFor();
      for (const frame of ["day", "week", "hour"]) {
        await page.getByRole("button", { name: frame, exact: true }).click();
        await page.getByRole("img", { name: /^Network, now in/ }).waitFor();
      }
      await page.getByRole("button", { name: "Tasks", exact: true }).click();
      await page.getByRole("button", { name: /^vzdump/ }).first().waitFor();
      await page.getByRole("row").filter({ hasText: "job errors" }).getByRole("button").first().click();
      await page.getByText("ERROR: Backup of VM 102 failed - No space left on device").first().waitFor();
      assert.match(await page.locator("#telling").textContent(), /^ERROR: Backup of VM 102 failed/);
      for (const request of page.requests) {
        assert.equal(new URL(request.url()).origin, url);
        assert.ok(!request.url().includes(TOKEN));
        assert.equal((await request.allHeaders()).cookie, undefined);
      }
      assert.deepEqual(page.errors, []);
      assert.deepEqual(await browser.cookies(), []);
      assert.equal(await page.evaluate(() => localStorage.length), 0);
      await page.getByRole("button", { name: "Sign out" }).click();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
      assert.equal(await page.getByText("web01").count(), 0);
    });
  },

  async "the page works below a path that a proxy removes"({ browser, binary }) {
    await withDemo(binary, (url) => withLoopback(async (request, response) => {
      if (!request.url.startsWith("/replica1/")) return response.writeHead(404).end();
      const body = [];
      for await (const part of request) body.push(part);
      const { host, origin, connection, ...headers } = request.headers;
      const { method } = request;
      const answer = await fetch(url + request.url.slice("/replica1".length), { method, headers, body: body.length ? Buffer.concat(body) : undefined });
      const { "content-encoding": _, "content-length": __, "transfer-encoding": ___, ...kept } = Object.fromEntries(answer.headers);
      response.writeHead(answer.status, kept).end(Buffer.from(await answer.arrayBuffer()));
    }, async (proxy) => {
      const page = await signIn(browser, proxy + "/replica1");
      await page.getByText("3 of 3 nodes online").first().waitFor();
      assert.deepEqual(page.errors, []);
    }));
  },

  async "a task that runs shows its log live"({ browser, binary }) {
    await withDemo(binary, async (url) => {
      const page = await signIn(browser, url);
      await page.getByText("3 of 3 nodes online").first().waitFor();
      await page.getByRole("button", { name: "Tasks", exact: true }).click();
      await callTool(url, "proxmox_api_call", { method: "POST", path: "/nodes/pve3/qemu/105/status/start" });
      const row = page.getByRole("row").filter({ hasText: "qmstart 105" });
      await row.getByRole("button").first().click();
      await page.getByRole("log").getByText("TASK OK").first().waitFor();
      await row.getByText("● OK").first().waitFor();
      assert.deepEqual(page.errors, []);
    });
  },

  async "a call of an agent is denied and approved on the page by another client"({ browser, binary }) {
    const changes = [];
    await withFakeNode(binary, { guests: 4, changes }, async (url) => {
      const [ada, own, guest] = [await signIn(browser, url, ADA), await signIn(browser, url), await signIn(browser, url, GUEST)];
      await ada.getByRole("button", { name: "Approvals (0)" }).click();
      await guest.getByText("nodes online").first().waitFor();
      assert.equal(await guest.getByRole("button", { name: /^Approvals/ }).count(), 0);
      const ask = () => callTool(url, "proxmox_api_call", DELETE, true);
      await ask();
      await own.getByRole("button", { name: "Approvals (1)" }).click();
      await own.getByText("Your own client asked for this call").waitFor();
      assert.equal(await own.getByRole("button", { name: /^Approve call/ }).count(), 0);
      await ada.getByRole("button", { name: /^Deny call/ }).click();
      await ada.getByText("No call waits for approval.").waitFor();
      assert.match((await ask()).content[0].text, /a person denied it/);
      assert.deepEqual(changes, []);
      await ask();
      await ada.getByRole("button", { name: /^Approve call/ }).click();
      await ada.getByText("Approved by ada").waitFor();
      assert.deepEqual(changes, []);
      await ask();
      assert.equal(changes.length, 1, changes.join());
      assert.match(changes[0], /^DELETE .*\/qemu\/101/);
      await ada.getByText("No call waits for approval.").waitFor();
      await ada.getByText(/^agent: \d/).click();
      const calls = ada.getByRole("region", { name: "Last calls of each client" });
      await calls.getByText(/proxmox_api_call on fake over http, asked/).first().waitFor();
      await calls.getByText(/DELETE \/nodes\/alpha1\/qemu\/101/).first().waitFor();
      assert.deepEqual([...ada.errors, ...own.errors, ...guest.errors], []);
    }, { cluster: { confirm_by: "operator" }, clients: CLIENTS });
  },

  async "two persons decide at once, with the keyboard and on a phone"({ browser, binary, axe, update }) {
    await withApprovalDemo(binary, CLIENTS, async (url) => {
      const ask = (args, wait) => callTool(url, "proxmox_api_call", { ...args, ...(wait ? { wait } : {}) }, true);
      await ask({ method: "DELETE", path: "/nodes/pve2/qemu/106" });
      await ask({ method: "POST", path: "/nodes/pve1/qemu/100/status/stop" });
      const [ada, bob] = [await signIn(browser, url, ADA), await signIn(browser, url, BOB)];
      await bob.setViewportSize({ width: 390, height: 800 });
      await bob.emulateMedia({ colorScheme: "dark" });
      await ada.getByRole("button", { name: "Approvals (2)" }).focus();
      await ada.keyboard.press("Enter");
      await bob.getByRole("button", { name: "Approvals (2)" }).click();
      for (const page of [ada, bob]) {
        await page.getByText('Delete VM 106 "staging01"').waitFor();
        await page.getByText(/^expires in 14 min/).first().waitFor();
        await page.getByText(/^agent: 2, the last/).waitFor();
        assert.equal(await page.title(), "(2) Proxmox VE");
        await checkAccess(page, axe);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `${overflow} pixels too wide`);
      }
      for (const [page, name] of [[ada, "approvals-light"], [bob, "approvals-phone"]]) {
        await page.evaluate(() => document.activeElement.blur());
        await comparePicture(browser, name, await page.screenshot(), update);
      }
      const waiting = ask({ method: "DELETE", path: "/nodes/pve2/qemu/106" }, true);
      const first = (page, label) => page.getByRole("region", { name: /^Call / }).first().getByRole("button", { name: label });
      const decisions = { approved: 0, denied: 0 };
      for (const page of [ada, bob]) page.on("response", async (response) => {
        if (response.request().method() === "POST" && response.url().endsWith("/approvals") && response.ok()) {
          decisions[(await response.json()).state]++;
        }
      });
      await first(ada, "Approve").focus();
      await Promise.all([ada.keyboard.press("Enter"), first(bob, "Deny").click()]);
      const { text } = (await waiting).content[0];
      await ada.getByRole("button", { name: "Approvals (1)" }).waitFor();
      assert.equal(decisions.approved + decisions.denied, 1, JSON.stringify(decisions));
      assert.match(text, decisions.approved ? /qmdestroy|UPID/ : /a person denied it/);
      // Each person has one more call, which stays in its place.
      await bob.getByText("It no longer waits").first().waitFor();
      await bob.getByRole("button", { name: /^Deny call/ }).last().click();
      await ada.getByText("No call waits for approval.").waitFor();
      await ada.keyboard.press("Tab");
      assert.deepEqual([...ada.errors, ...bob.errors], []);
    });
  },

  async "a call expires by the server's clock, not by that of the browser"({ browser, binary }) {
    await withDemo(binary, async (url) => {
      // No real call expires while a test waits. The browser is a year ahead.
      await browser.addInitScript(() => { const now = Date.now; Date.now = () => now() + 365 * 864e5; });
      const waiting = [{ id: "a1", client: "agent", transport: "http", cluster: "demo", own: false, approved_by: null,
        operations: ["DELETE /nodes/pve2/qemu/106"], plan: "Delete VM 106", age_seconds: 897, expires_in_seconds: 3 }];
      let isAnswered = true;
      await browser.route("**/approvals", (route) => (isAnswered ? route.fulfill({ json: { approvals: waiting } }) : route.abort()));
      await browser.route("**/calls", (route) => route.fulfill({ json: { clients: [] } }));
      const page = await signIn(browser, url);
      await page.getByRole("button", { name: "Approvals (1)" }).click();
      await page.getByText(/^expires in 0 min [123] s/).waitFor();
      assert.ok(await page.getByRole("button", { name: "Approve call a1" }).isEnabled());
      isAnswered = false;
      await page.getByText("expired", { exact: true }).waitFor();
      assert.ok(await page.getByRole("button", { name: "Approve call a1" }).isDisabled());
      assert.ok(await page.getByRole("button", { name: "Deny call a1" }).isDisabled());
      await page.getByText("approvals: the server does not answer").waitFor();
    });
  },

  async "a client that loses the right no longer sees approvals"({ browser, binary }) {
    await withDemo(binary, async (url) => {
      let status = 200;
      await browser.route("**/approvals", (route) => route.fulfill(status === 200
        ? { json: { approvals: [] } } : { status, body: "this client may not approve calls" }));
      const page = await signIn(browser, url);
      await page.getByRole("button", { name: "Approvals (0)" }).click();
      await page.getByText("No call waits for approval.").waitFor();
      status = 403;
      await page.getByRole("heading", { name: "Overview" }).waitFor();
      assert.equal(await page.getByRole("button", { name: /^Approvals/ }).count(), 0);
    });
  },

  async "a node that hangs, forbids or answers HTML is named, and hides no approval"({ browser, binary }) {
    for (const [sickness, words] of [["hangs", /fake: resources: .*(answer|time|unreachable)/i],
      ["forbids", /fake: resources: .*(Permission check failed|Sys\.Audit)/], ["answers HTML", /fake: resources: .*(HTML|not JSON|not Proxmox|proxy)/i]]) {
      const control = {};
      await withFakeNode(binary, { guests: 4, control }, async (url) => {
        await callTool(url, "proxmox_api_call", DELETE, true);
        const before = await signIn(browser, url, ADA);
        await before.getByText("4 of 4 guests running").first().waitFor();
        control.sickness = sickness;
        const page = await signIn(browser, url, ADA);
        await page.getByRole("button", { name: "Approvals (1)" }).click();
        await page.getByRole("button", { name: /^Approve call/ }).waitFor();
        await page.getByRole("button", { name: "Overview" }).click();
        await page.getByText(words).first().waitFor();
        await page.getByText("can't be read").first().waitFor();
        assert.equal(await page.getByText("0 of 0 nodes").count(), 0);
        await before.getByText(/4 of 4 guests running, as of/).first().waitFor();
        control.sickness = undefined;
        await page.getByText("4 of 4 guests running").first().waitFor();
        await page.close();
        await before.close();
      }, { cluster: { confirm_by: "operator", timeout_seconds: 2 }, clients: CLIENTS });
    }
  },

  async "a wrong token is refused and not kept"({ browser, binary }) {
    await withDemo(binary, async (url) => {
      const page = await signIn(browser, url, "wrong");
      await page.getByText("unknown client token").first().waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
      assert.ok(await page.getByLabel("Client token").isVisible());
    });
  },

  async "two persons at once see their own tabs"({ browser, binary }) {
    await withDemo(binary, async (url) => {
      const [one, two] = [await signIn(browser, url), await signIn(browser, url)];
      await one.getByText("3 of 3 nodes online").first().waitFor();
      await two.getByText("3 of 3 nodes online").first().waitFor();
      await one.getByRole("button", { name: "Sign out" }).click();
      await two.getByRole("button", { name: "Guests", exact: true }).click();
      await two.getByText("13 of 13 guests").first().waitFor();
      assert.ok(await one.getByLabel("Client token").isVisible());
    });
  },

  async "texts of a cluster never become HTML"({ browser, binary }) {
    await withFakeNode(binary, { guests: 30, text: HOSTILE }, async (url) => {
      const page = await signIn(browser, url);
      await page.getByText("1 of 1 nodes online").first().waitFor();
      await page.getByRole("button", { name: "Guests", exact: true }).click();
      await page.getByText("30 of 30 guests").first().waitFor();
      await page.getByRole("button", { name: /^VM 101 / }).click();
      await page.getByRole("img", { name: /^CPU, now/ }).waitFor();
      await page.getByText("Snapshots").first().waitFor();
      const card = page.getByRole("region", { name: "Options" });
      await card.getByText(HOSTILE).first().waitFor();
      await page.getByRole("region", { name: "Snapshots" }).getByText(HOSTILE).first().waitFor();
      await page.getByRole("button", { name: "Tasks", exact: true }).click();
      await page.getByRole("table").getByRole("button").filter({ hasText: "<img" }).click();
      await page.getByRole("log").getByText(HOSTILE).first().waitFor();
      assert.equal(await page.evaluate(() => window.wasAttacked), undefined);
      assert.equal(await page.locator("img, iframe, object").count(), 0);
      assert.equal(await page.locator("script").count(), 1);
      assert.deepEqual(page.errors, []);
    });
  },

  async "characters that fake another text are shown as such"({ browser, binary }) {
    await withFakeNode(binary, { guests: 4, text: "safe\u202Eevil\u200B" }, async (url) => {
      const page = await signIn(browser, url, ADA);
      await callTool(url, "proxmox_api_call", DELETE, true);
      await page.getByRole("button", { name: "Guests", exact: true }).click();
      await page.getByText("4 of 4 guests").first().waitFor();
      await page.getByRole("button", { name: "VM 101 safe\\u202eevil\\u200b1" }).waitFor();
      await page.getByRole("button", { name: "Approvals (1)" }).click();
      await page.getByText('VM 101 "safe\\u202eevil\\u200b"').first().waitFor();
      assert.ok(!/[\u202a-\u202e\u200b]/.test(await page.locator("body").innerText()));
    }, { cluster: { confirm_by: "operator" }, clients: CLIENTS });
  },

  async "the view survives a host that sends odd messages"({ browser, binary }) {
    await withDemo(binary, async (url) => {
      const html = await (await fetch(url + "/")).text();
      await withHost(async (host) => {
        const page = await browser.newPage();
        page.setDefaultTimeout(PATIENCE);
        const errors = [];
        page.on("pageerror", (error) => errors.push(String(error)));
        await page.goto(host + "/");
        await page.evaluate((document_) => {
          const frame = document.getElementById("view");
          const text = (value) => ({ content: [{ type: "text", text: JSON.stringify(value) }] });
          const odd = [undefined, null, 0, "", "x", [], [null], {}, true];
          const post = (message) => frame.contentWindow.postMessage(message, "*");
          window.isOdd = true;
          window.addEventListener("message", ({ source, data }) => {
            if (source !== frame.contentWindow || !data.method || data.id === undefined) return;
            if (data.method === "ui/initialize") {
              for (const each of odd) for (const method of [undefined, null, 1, "ping", "ui/notifications/tool-input",
                "ui/notifications/host-context-changed", "ui/notifications/tool-result", "x"]) {
                post(each);
                post({ jsonrpc: "2.0", method, id: each, params: each, result: each, error: each });
                post({ jsonrpc: "2.0", method, params: { arguments: each, theme: each } });
              }
              post({ jsonrpc: "2.0", method: "ui/notifications/tool-input", params: { arguments: { path: "/qemu/%zz/rrddata" } } });
              post({ jsonrpc: "2.0", id: data.id, result: { hostContext: null } });
            } else if (window.isOdd) {
              window.answers = (window.answers || 0) + 1;
              const each = odd[window.answers % odd.length];
              post({ jsonrpc: "2.0", id: data.id, ...(window.answers % 2 ? { error: each || {} }
                : { result: { content: each, structuredContent: each, isError: each } }) });
            } else if (data.params.name === "list_clusters") {
              post({ jsonrpc: "2.0", id: data.id, result: { structuredContent: { columns: ["name"], rows: [["<b>odd</b>"]] } } });
            } else {
              post({ jsonrpc: "2.0", id: data.id, result: text([{ type: "node", id: "n", node: "<img src=x>", status: "online" }, null]) });
            }
          });
          frame.srcdoc = document_;
        }, html);
        const view = page.frameLocator("#view");
        await view.getByText(/clusters: /).first().waitFor();
        await page.evaluate(() => { window.isOdd = false; });
        await view.getByText("<b>odd</b>").first().waitFor();
        assert.equal(await view.locator("img, b").count(), 0);
        assert.deepEqual(errors, []);
      });
    });
  },

  async "a foreign script and a frame are stopped by the policy"({ browser, binary }) {
    await withDemo(binary, async (url) => {
      const page = await browser.newPage();
      const response = await page.goto(url + "/");
      const policy = response.headers()["content-security-policy"];
      assert.match(policy, /script-src 'sha256-[^']+';/);
      assert.match(policy, /frame-ancestors 'none'/);
      const ran = await page.evaluate(() => {
        const script = document.createElement("script");
        try { script.textContent = "window.wasAttacked = 1"; document.body.append(script); } catch { /* Trusted Types. */ }
        let isStopped = false;
        try { document.body.innerHTML = "<b>x</b>"; } catch { isStopped = true; }
        return [window.wasAttacked, isStopped];
      });
      assert.deepEqual(ran, [undefined, true]);
      await withHost(async (host) => {
        const outer = await browser.newPage();
        await outer.goto(host + "/");
        await outer.evaluate((inner) => new Promise((resolve) => {
          const frame = document.createElement("iframe");
          frame.id = "framed"; frame.onload = resolve; frame.src = inner;
          document.body.append(frame);
        }), url + "/");
        assert.equal(await outer.frameLocator("#framed").getByLabel("Client token").count(), 0);
      });
    });
  },

  async "the host of MCP Apps renders the view and calls tools for it"({ browser, binary }) {
    await withHost(async (host) => {
      await withDemo(binary, async (url) => {
        for (const [tool, args, expected] of [
          ["get_cluster_resources", { type: "overview" }, "3 of 3 nodes online"],
          ["proxmox_api_get", { path: "/nodes/pve1/qemu/102/rrddata", params: { timeframe: "hour" } }, "VM 102 db01"],
        ]) {
          const page = await browser.newPage();
          page.setDefaultTimeout(PATIENCE);
          await page.goto(host + "/");
          await page.waitForFunction(() => window.isReady);
          const shown = await page.evaluate((given) => window.showView(...given), [url, TOKEN, tool, args]);
          assert.equal(shown.uri, "ui://proxmox/overview");
          assert.equal(shown.mimeType, "text/html;profile=mcp-app");
          const view = page.frameLocator("#view");
          await view.getByText(expected).first().waitFor();
          assert.equal(await view.getByLabel("Client token").isVisible(), false);
          assert.equal(await view.locator("html").evaluate((html) => html.style.colorScheme), "dark");
          const calls = await page.evaluate(() => window.calls);
          assert.ok(calls.includes("list_clusters") && calls.includes("proxmox_api_get"), calls.join());
        }
      }, ["--allowed-origins", host]);
    });
  },

  async "the page has no violation of axe"({ browser, binary, axe }) {
    await withDemo(binary, async (url) => {
      for (const colorScheme of ["light", "dark"]) {
        const page = await browser.newPage();
        await page.emulateMedia({ colorScheme });
        await page.goto(url + "/");
        await checkAccess(page, axe);
        await page.close();
        const shown = await signIn(browser, url);
        await shown.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await overviewOf(shown);
        await checkAccess(shown, axe);
        await openGuest(shown, "VM 100 web01");
        await checkAccess(shown, axe);
        await shown.getByRole("button", { name: "All guests" }).click();
        await checkAccess(shown, axe);
        await shown.getByRole("button", { name: "Tasks", exact: true }).click();
        await shown.getByRole("row").filter({ hasText: "job errors" }).getByRole("button").first().click();
        await shown.locator("#telling").waitFor();
        await checkAccess(shown, axe);
        await shown.close();
      }
    });
  },

  async "pictures"({ browser, binary, update }) {
    await withDemo(binary, async (url) => {
      for (const [name, colorScheme, size, guest] of [
        ["overview-light", "light", { width: 1100, height: 800 }],
        ["overview-dark", "dark", { width: 1100, height: 800 }],
        ["guest-light", "light", { width: 1100, height: 800 }, "VM 100 web01"],
        ["guest-phone", "dark", { width: 390, height: 800 }, "VM 100 web01"],
        ["guests-phone", "light", { width: 390, height: 800 }],
      ]) {
        const page = await signIn(browser, url);
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await overviewOf(page);
        if (guest) await openGuest(page, guest);
        else if (name.startsWith("guests")) await page.getByRole("button", { name: "Guests", exact: true }).click();
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `${name} is ${overflow} pixels too wide`);
        await page.evaluate(() => document.activeElement.blur());
        await comparePicture(browser, name, await page.screenshot(), update);
        await page.close();
      }
    });
  },

  async "measures: first paint with 1,000 guests, and the memory of 20 pages"({ browser, binary }) {
    await withFakeNode(binary, { guests: 1000 }, async (url, pid) => {
      const html = await (await fetch(url + "/")).text();
      assert.ok(html.length <= 80 << 10);
      const resident = async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))[1]);
      const before = await resident();
      const page = await signIn(browser, url);
      const started = Date.now();
      await page.getByText(/of \d+ guests running/).first().waitFor();
      const first = Date.now() - started;
      await page.getByText("1000 of 1000 guests running").first().waitFor();
      const all = Date.now() - started;
      const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
      await page.getByRole("button", { name: "Guests", exact: true }).click();
      await page.getByText("1000 of 1000 guests").first().waitFor();
      await page.getByRole("button", { name: "Show 200 more" }).click();
      const pages = [page];
      while (pages.length < 20) pages.push(await signIn(browser, url));
      for (const each of pages.slice(1)) await each.getByText("1000 of 1000 guests running").first().waitFor();
      console.log(`        page ${html.length} bytes, first paint ${Math.round(paint)} ms, first guests ${first} ms, all 1,000 ${all} ms, `
        + `server ${before} KiB, with 20 pages ${await resident()} KiB`);
    });
  },
};

// Calls a tool as the client of the token. A call that waits for an approval is a result with an error.
async function callTool(url, name, args, mayFail) {
  const response = await fetch(url + "/mcp", {
    method: "POST",
    headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } }),
  });
  const answer = await response.json();
  assert.ok(mayFail || (!answer.result?.isError && !answer.error), JSON.stringify(answer));
  return answer.result;
}
