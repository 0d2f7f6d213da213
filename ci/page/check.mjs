// Checks the page in a real browser.
//
//     node check.mjs BINARY [--update] [WORD…]
//
// With words, runs only the checks whose name contains all of them. --update writes the pictures of docs/images.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { CHECKS } from "./checks.mjs";

const [binary, ...rest] = process.argv.slice(2);
const update = rest.includes("--update");
const words = rest.filter((word) => word !== "--update");
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--font-render-hinting=none"];
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let failed = 0;
let passed = 0;
for (const [name, check] of Object.entries(CHECKS)) {
  if (!words.every((word) => name.includes(word))) continue;
  const profile = await mkdtemp(join(tmpdir(), "proxmox-mcp-page-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: ARGUMENTS, viewport: { width: 1100, height: 800 },
    timezoneId: "UTC",
  });
  try {
    await check({ browser, binary, axe: AXE, update });
    passed++;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n${error.stack}`);
  } finally {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  }
}
console.log(`page: ${passed} passed, ${failed} failed`);
process.exitCode = failed || !passed ? 1 : 0;
