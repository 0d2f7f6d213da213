"""Runs the official conformance suites against the product, and against the same core with the suites' fixtures.

    python3 ci/conformance.py BINARY FIXTURES

A check may fail only if ci/conformance/ has it with a reason, and every check listed there must fail. The suites are
installed in CI_CACHE.
"""

import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass

from clients import tools
from server import Server

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE_SECONDS = 180
FIXTURES_LINE = re.compile(r"conformance server listening on (http://\S+)")

# Version of the suite, arguments, and the number of scenarios. A different number means that scenarios were left out.
SUITES = [
    ("0.1.16", ["--suite", "all"], 32),
    ("0.2.0-alpha.12", ["--requirements", "2025-11-25"], 33),
    ("0.2.0-alpha.12", ["--requirements", "2026-07-28"], 50),
]


@dataclass
class Check:
    """One check of a scenario."""

    scenario: str
    id: str
    status: str
    message: str

    @property
    def name(self):
        return f"{self.scenario}:{self.id}"

    @property
    def short_name(self):
        """Many scenarios have a single check of the same name."""
        return self.id if self.id == self.scenario else self.name


def run(version, arguments, scenarios, url):
    """Runs one suite against the server at `url` and returns its checks."""
    package = "@modelcontextprotocol/conformance"
    entry = f"{tools.npm(f'{package}@{version}')}/{package}/dist/index.js"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*tools.node(), entry, "server", "--url", f"{url}/mcp", *arguments, "-o", folder],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=SUITE_SECONDS, cwd=folder,
        )  # fmt: skip
        results = {}
        for result in os.listdir(folder):
            # server-SCENARIO-TIME, and the name of a scenario may itself start with "server-".
            scenario = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z", result)[1]
            with open(f"{folder}/{result}/checks.json") as file:
                results[scenario] = json.load(file)
    ran = re.findall(r"^=== Running scenario: (\S+) ===$", done.stdout, re.MULTILINE)
    if len(ran) != scenarios or set(ran) != set(results) or not all(results.values()):
        raise AssertionError(f"expected {scenarios} scenarios, each with checks:\n{done.stdout[-4000:]}")
    return [
        Check(scenario, check["id"], check["status"], message(check)) for scenario in ran for check in results[scenario]
    ]


def message(check):
    details = check.get("details") or {}
    text = check.get("errorMessage") or details.get("note") or details.get("message") or check.get("description") or ""
    text = " ".join(text.split())
    # An error may list every tool.
    return text if len(text) <= 240 else f"{text[:240]}…"


def expectations(name):
    """Returns the patterns of the checks that must fail, each with its reason."""
    with open(f"{HERE}/conformance/{name}.toml", "rb") as file:
        groups = tomllib.load(file)["expected"]
    return {
        pattern if ":" in pattern else f"{pattern}:{pattern}": group["reason"]
        for group in groups
        for pattern in group["checks"]
    }


def not_judged(checks):
    """Returns the checks of scenarios without a verdict. The suite counts such scenarios as passed."""
    of_scenario = {}
    for check in checks:
        of_scenario.setdefault(check.scenario, []).append(check)
    return [check for own in of_scenario.values() if all(c.status == "INFO" for c in own) for check in own]


def judge(checks, expected):
    """Returns errors as lines, and the expectations that match these checks. Prints expected failures and warnings."""
    about = {p for p in expected for check in checks if fnmatch.fnmatchcase(check.scenario, p.partition(":")[0])}
    wrong, reasons, met = [], {}, set()
    for check in checks:
        if check.status != "FAILURE":
            continue
        patterns = [pattern for pattern in expected if fnmatch.fnmatchcase(check.name, pattern)]
        met.update(patterns)
        if patterns:
            reasons.setdefault(expected[patterns[0]], []).append(check.short_name)
        else:
            wrong.append(f"{check.short_name}: {check.message}")
    wrong += [f"{pattern} is expected to fail and does not" for pattern in sorted(about - met)]
    for reason, names in reasons.items():
        print(f"  failed as expected, since {reason}: {', '.join(names)}")
    for word, which in [
        ("warning", [check for check in checks if check.status == "WARNING"]),
        ("skipped", [check for check in checks if check.status == "SKIPPED"]),
        ("not judged", not_judged(checks)),
    ]:
        for check in which:
            print(f"  {word}: {check.short_name}: {check.message}")
    return wrong, about


def main(binary, fixtures):
    servers = [
        ("product", [binary, "--demo", "--listen", "127.0.0.1:0"], {}),
        # This program does not handle SIGTERM: the signal ends it.
        ("fixtures", [fixtures], {"first_line": FIXTURES_LINE, "end": -signal.SIGTERM}),
    ]
    passed = failed = 0
    for name, command, options in servers:
        expected = expectations(name)
        idle = set(expected)
        for version, arguments, scenarios in SUITES:
            with Server(command, **options) as server:
                checks = run(version, arguments, scenarios, server.url)
            good = sum(check.status == "SUCCESS" for check in checks)
            bad = sum(check.status == "FAILURE" for check in checks)
            suite = f"conformance {version} {' '.join(arguments)}"
            print(f"{name}, {suite}: {scenarios} scenarios, {good} checks passed, {bad} failed")
            wrong, about = judge(checks, expected)
            idle -= about
            passed += good
            failed += len(wrong)
            for line in wrong:
                print(f"  FAILED  {line}")
        failed += len(idle)
        for pattern in sorted(idle):
            print(f"  FAILED  {pattern} in {name}.toml matches no scenario")
    print(f"conformance: {passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(*map(os.path.abspath, sys.argv[1:])))
