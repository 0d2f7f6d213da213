// Compares pictures with those of docs/images, in the browser, which can read them.
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), "../../docs/images");
// The share of blocks that may differ: the demo's load, times and charts change.
const TOLERANCE = 0.12;
const BLOCK = 10;
// The difference of a block's mean colour, of 255.
const BLOCK_DIFFERENCE = 24;

// Compares a picture with the committed one, or writes it.
export async function comparePicture(browser, name, bytes, update) {
  const file = join(FOLDER, `page-${name}.png`);
  if (update) {
    await mkdir(FOLDER, { recursive: true });
    await writeFile(file, bytes);
    return;
  }
  const pictures = [await readFile(file), bytes].map((each) => each.toString("base64"));
  const page = await browser.newPage();
  const share = await page.evaluate(async ([pictures, block, limit]) => {
    const read = async (data) => {
      const bitmap = await createImageBitmap(await (await fetch("data:image/png;base64," + data)).blob());
      const width = Math.floor(bitmap.width / block), height = Math.floor(bitmap.height / block);
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, width, height);
      return { width, height, pixels: context.getImageData(0, 0, width, height).data };
    };
    const [a, b] = [await read(pictures[0]), await read(pictures[1])];
    if (a.width !== b.width || a.height !== b.height) return 1;
    let different = 0;
    for (let at = 0; at < a.pixels.length; at += 4) {
      if ([0, 1, 2].some((channel) => Math.abs(a.pixels[at + channel] - b.pixels[at + channel]) > limit)) different++;
    }
    return different / (a.width * a.height);
  }, [pictures, BLOCK, BLOCK_DIFFERENCE]);
  await page.close();
  assert.ok(share <= TOLERANCE, `${name}: ${(share * 100).toFixed(1)} % of the picture differs. hint: --update writes it`);
}
