"""Compares proxmox-mcp with the same tools on other servers, in one run on one machine.

    python3 benches/compare [BINARY] [--quick] [--json FILE] [--update-page]
    python3 benches/compare --from FILE --update-page

BINARY is the static release binary. By default it is built. The peers are a server on the official Rust SDK (over
POST /mcp) and the original design in Python (over HTTP+SSE). All use the same node: nginx over TLS with static answers.
nginx is installed as a Debian package (as root), the peers below BENCH_DIR (default: target/compare). All servers
listen on 127.0.0.1 only. The program ends every process that it started.

A run takes a quarter of an hour, with --quick three minutes. The first one also builds the peers. Figures depend on the
machine: quote the ratios. --update-page updates the table in docs/speed.md and benches/compare.svg.
"""

import argparse
import json
import os
import signal
import sys
import time

import chart
import measures
import tables
from nodes import Nodes
from tools import REPO, WORK, Tools, say


def measured(arguments):
    begun = time.monotonic()
    tools = Tools(arguments.binary)
    say(f"ready after {time.monotonic() - begun:.0f} s")
    begun = time.monotonic()
    effort = measures.QUICK if arguments.quick else measures.FULL
    with Nodes(tools) as nodes:
        results = {"versions": tools.versions(), **measures.Measures(tools, nodes, effort).all()}
    results["goals"] = tables.goals(results)
    say(f"measured in {time.monotonic() - begun:.0f} s")
    with open(arguments.json, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    say(f"all figures: {arguments.json}")
    return results


def main():
    parser = argparse.ArgumentParser(
        prog="benches/compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("binary", nargs="?")
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds")
    parser.add_argument("--json", default=os.path.join(WORK, "results.json"), metavar="FILE", help="output file")
    parser.add_argument("--from", dest="source", metavar="FILE", help="read the figures from FILE instead of measuring")
    parser.add_argument("--update-page", action="store_true")
    arguments = parser.parse_args()
    if arguments.source:
        with open(arguments.source, encoding="utf-8") as file:
            results = json.load(file)
    else:
        results = measured(arguments)
    print("\n".join(tables.report(results)), end="\n\n")
    print(tables.page(results), end="")
    if arguments.update_page:
        tables.update(os.path.join(REPO, "docs", "speed.md"), results)
        with open(os.path.join(REPO, "benches", "compare.svg"), "w", encoding="utf-8") as file:
            file.write(chart.draw(results))
    if results["failures"]:
        sys.exit("some calls failed: " + "; ".join(results["failures"]))


# SIGTERM unwinds, so that the started processes are ended too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
main()
