"""A program between a client and a server on stdio, which records their messages.

    python3 stdio_recorder.py FILE COMMAND…

FILE gets a line of JSON per message: whether the client sent it, and the message.
"""

import json
import subprocess
import sys
import threading


def relay(source, sink, record, from_client):
    for line in source:
        record(json.dumps([from_client, json.loads(line)]))
        sink.write(line)
        sink.flush()
    sink.close()


def main(path, *command):
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with open(path, "a") as file:

        def record(line):
            # One write per line: two threads record.
            file.write(f"{line}\n")
            file.flush()

        # The client may leave its end open after the server has ended.
        threading.Thread(target=relay, args=(sys.stdin.buffer, server.stdin, record, True), daemon=True).start()
        relay(server.stdout, sys.stdout.buffer, record, False)
        return server.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
