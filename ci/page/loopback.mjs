// A web server on loopback.
import { createServer } from "node:http";

// Runs `use(url)` while `answer(request, response)` serves.
export async function withLoopback(answer, use) {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
