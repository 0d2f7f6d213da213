#!/usr/bin/env python3
"""Checks the memory of a static build: idle with --demo, with 1,000 SSE sessions, and after them.

    python3 ci/memory.py target/x86_64-unknown-linux-musl/release/proxmox-mcp
"""

import os
import socket
import subprocess
import sys
import time

IDLE_MB = 6
SESSIONS_MB = 30
AFTER_MB = 8
SESSIONS = 1000
# The server returns unused memory every five seconds.
SETTLE_SECONDS = 60


def resident_mb(pid):
    """Returns the resident memory of a process in millions of bytes."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmRSS:"))


def forget_cached(path):
    """Removes a file from the kernel's cache, as after a boot. Linux 6.18 maps whole folios of the cache, and a file
    that was just written has folios of megabytes."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def check(what, pid, limit):
    """Waits until the memory is within its limit."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (now := resident_mb(pid)) > limit and time.monotonic() < deadline:
        time.sleep(0.1)
    print(f"memory {what}: {now:.2f} MB, the limit is {limit} MB")
    return now <= limit


def open_session(address):
    """Opens an SSE session, and waits for its first event."""
    client = socket.create_connection(address, timeout=60)
    client.sendall(b"GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    received = b""
    while b"event: endpoint" not in received:
        part = client.recv(4096)
        if not part:
            sys.exit(f"no session: {received!r}")
        received += part
    return client


def main():
    forget_cached(sys.argv[1])
    command = [sys.argv[1], "--demo", "--listen", "127.0.0.1:0", "--log", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            host, port = server.stdout.readline().rsplit("//", 1)[1].strip().split(":")
            within = [check("idle", server.pid, IDLE_MB)]
            sessions = [open_session((host, int(port))) for _ in range(SESSIONS)]
            within.append(check(f"with {SESSIONS} sessions", server.pid, SESSIONS_MB))
            for session in sessions:
                session.close()
            within.append(check("after them", server.pid, AFTER_MB))
        finally:
            server.terminate()
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
