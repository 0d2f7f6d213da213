"""The measurements. Compared servers run in turns, so that changes of the machine's speed affect all alike."""

import os
import time
from dataclasses import dataclass
from statistics import median

from nodes import GROWTH, GUESTS, LONG, Hung, Slow, free_port
from servers import ORIGINAL, OURS, SDK, Server, command, load
from tools import say

MODES = (("http", SDK), ("modern", SDK), ("sse", ORIGINAL))
# Each tool, and a text that every right answer contains.
TOOLS = {"list_clusters": "prod", "list_nodes": "pve3", "get_cluster_resources": f"vm-{GUESTS - 1}"}
LONG_ANSWER = "proxmox_api_call"
SESSIONS = (1, 16, 64, 256)
HELD = 1_000
CLUSTERS = (1, 20, 200)
# Sessions that share a node as slow as a real one.
SLOW_SESSIONS = 32
# By default the 129th call in flight to one cluster is refused. The peers have no limit.
MANY = ("--max-calls-per-cluster", str(max(SESSIONS)))
WHOLE = ("--max-result-bytes", "0")
FIGURES = ("calls_s", "p50_us", "p99_us", "cpu_us", "resident_kib")


@dataclass
class Effort:
    seconds: float
    rounds: int
    starts: int


FULL = Effort(seconds=2, rounds=3, starts=15)
QUICK = Effort(seconds=0.5, rounds=1, starts=5)


class Measures:
    """All measurements of one run over the same nodes."""

    def __init__(self, tools, nodes, effort):
        self._tools, self._nodes, self._effort = tools, nodes, effort
        self._clusters = nodes.configuration("clusters", {"prod": nodes.address()})
        self.failures = []

    def _calls(self, server, mode, sessions, tool, expected, arguments=None):
        """Figures of one turn, or None if the server failed."""
        try:
            return server.calls(mode, sessions, self._effort.seconds, tool, expected, arguments)
        except RuntimeError as why:
            say(f"! {tool}, {mode}, {sessions} sessions, {server.who}: {why}")
            self.failures.append(f"{server.who}: {tool}, {mode}, {sessions} sessions")
            return None

    def _duel(self, pairs, sessions, tool, expected, arguments=None):
        """A row per mode, with our server and its peer."""
        turns = {mode: [] for mode, _, _ in pairs}
        for _ in range(self._effort.rounds):
            for mode, ours, peer in pairs:
                plan = (mode, sessions, tool, expected, arguments)
                turns[mode].append([self._calls(who, *plan) for who in (ours, peer)])
        for mode, _, peer in pairs:
            whole = [turn for turn in turns[mode] if None not in turn]
            yield {
                "tool": tool,
                "sessions": sessions,
                "mode": mode,
                "peer": peer.who,
                "ours": {figure: _median(ours[figure] for ours, _ in whole) for figure in FIGURES},
                "theirs": {figure: _median(theirs[figure] for _, theirs in whole) for figure in FIGURES},
                # Above 1, ours is better.
                "times": {
                    "calls_s": _median(over(ours["calls_s"], theirs["calls_s"]) for ours, theirs in whole),
                    "p50": _median(over(theirs["p50_us"], ours["p50_us"]) for ours, theirs in whole),
                    "p99": _median(over(theirs["p99_us"], ours["p99_us"]) for ours, theirs in whole),
                    "cpu": _median(over(theirs["cpu_us"], ours["cpu_us"]) for ours, theirs in whole),
                },
            }

    def comparison(self):
        rows = []
        with (
            Server(self._tools, OURS, self._clusters, *MANY) as ours,
            Server(self._tools, OURS, self._clusters, *WHOLE) as whole,
            Server(self._tools, SDK, self._clusters) as sdk,
            Server(self._tools, ORIGINAL, self._clusters) as original,
        ):
            peers = {SDK: sdk, ORIGINAL: original}
            pairs = [(mode, ours, peers[peer]) for mode, peer in MODES]
            for tool, expected in TOOLS.items():
                for sessions in SESSIONS:
                    say(f"{tool}, {sessions} sessions")
                    rows += self._duel(pairs, sessions, tool, expected)
            say("an answer of 3.4 MB")
            pairs = [(mode, whole, sdk) for mode, peer in MODES if peer == SDK]
            # The peers ignore the format, and have no other one.
            whole_answer = {"path": "/cluster/log", "method": "GET", "format": "json"}
            rows += self._duel(pairs, 1, LONG_ANSWER, f"vm-{LONG - 1}", whole_answer)
        return rows

    def growth_by_sessions(self):
        """Our server only, a new one per number of sessions."""
        for sessions in SESSIONS:
            say(f"growth: {sessions} sessions")
            with Server(self._tools, OURS, self._clusters, *MANY) as ours:
                tool = "get_cluster_resources"
                turns = [self._calls(ours, "modern", sessions, tool, TOOLS[tool]) for _ in range(self._effort.rounds)]
            yield {"sessions": sessions, **_medians(turns)}

    def growth_by_guests(self):
        for guests in GROWTH:
            say(f"growth: {guests} guests")
            clusters = self._nodes.configuration(f"guests-{guests}", {"prod": self._nodes.address(guests)})
            # The peer returns every row too.
            with Server(self._tools, OURS, clusters, *WHOLE) as ours, Server(self._tools, SDK, clusters) as sdk:
                row = next(self._duel([("modern", ours, sdk)], 1, "get_cluster_resources", f"vm-{guests - 1}"))
            for side in ("ours", "theirs"):
                row[side]["cpu_us_a_guest"] = over(row[side]["cpu_us"], guests)
            yield {"guests": guests, **row}

    def added(self):
        """The duration of a call, compared with the same client asking the node directly."""
        say("added time")
        turns = []
        with Server(self._tools, OURS, self._clusters) as ours, Server(self._tools, SDK, self._clusters) as sdk:
            for _ in range(max(self._effort.rounds, 3)):
                plan = (self._nodes.address(), self._effort.seconds)
                turns.append([load(self._tools.load, "added", who.address, *plan) for who in (ours, sdk)])

        def of(side):
            return {
                "added_ms": median((turn[side]["call_us"] - turn[side]["direct_us"]) / 1000 for turn in turns),
                "times_direct": median(turn[side]["call_us"] / turn[side]["direct_us"] for turn in turns),
            }

        return {OURS: of(0), SDK: of(1)}

    def hanging(self, callers=16, sessions=16):
        """The p99 of calls to one cluster while other callers wait for a hanging one, and before and after that."""
        say("one cluster hangs")
        ratios = []
        for _ in range(max(self._effort.rounds, 2) + 2):
            with Hung() as hung:
                clusters = self._nodes.configuration("hanging", {"prod": self._nodes.address(), "hung": hung.url})
                with Server(self._tools, OURS, clusters) as ours:
                    # The first turn fills the connection pool.
                    turns = []
                    for waiting in (False, False, True, False):
                        background = None
                        if waiting:
                            background = ours.call_in_background("modern", callers, "list_nodes", {"cluster": "hung"})
                        try:
                            if waiting:
                                # The callers share requests.
                                hung.wait_for_request()
                            seconds, tool = self._effort.seconds, "list_nodes"
                            turn = ours.calls("modern", sessions, seconds, tool, TOOLS[tool], {"cluster": "prod"})
                        finally:
                            if background:
                                background.terminate()
                                background.wait()
                        turns.append(turn["p99_us"])
            _, before, during, after = turns
            ratios.append(during / ((before + after) / 2))
        return {"p99_times_quiet": median(ratios), "rounds": ratios}

    def growth_by_clusters(self):
        """Our server only: calls that ask every cluster. All are one node, so the cost is the server's."""
        for clusters in CLUSTERS:
            say(f"growth: {clusters} clusters")
            urls = {f"c{number}": self._nodes.address() for number in range(clusters)}
            configuration = self._nodes.configuration(f"clusters-{clusters}", urls)
            with Server(self._tools, OURS, configuration, *WHOLE) as ours:
                expected = f"c{clusters - 1}" if clusters > 1 else "pve3"
                turns = [self._calls(ours, "modern", 1, "list_nodes", expected) for _ in range(self._effort.rounds)]
            row = _medians(turns)
            yield {"clusters": clusters, "cpu_us_a_cluster": over(row["cpu_us"], clusters), **row}

    def slow(self):
        """Calls to a node as slow as a real one, and the requests that reach it."""
        rows = {}
        for tool in ("list_nodes", "get_cluster_resources"):
            say(f"a slow node: {tool}")
            turns = []
            for _ in range(self._effort.rounds):
                turn = [self._slow_turn(who, tool) for who in (OURS, SDK)]
                turns += [turn] if None not in turn else []
            rows[tool] = {
                "sessions": SLOW_SESSIONS,
                # Above 1, ours is better.
                "times_sdk": _median(over(ours["calls_s"], sdk["calls_s"]) for ours, sdk in turns),
                "requests_per_call": _median(ours["requests_per_call"] for ours, _ in turns),
                "requests_per_call_sdk": _median(sdk["requests_per_call"] for _, sdk in turns),
                "calls_s": [turn[0]["calls_s"] for turn in turns],
                "calls_s_sdk": [turn[1]["calls_s"] for turn in turns],
            }
        return rows

    def _slow_turn(self, who, tool):
        with Slow(self._nodes) as node:
            clusters = self._nodes.configuration(f"slow-{who}", {"prod": node.address})
            with Server(self._tools, who, clusters) as server:
                figures = self._calls(server, "modern", SLOW_SESSIONS, tool, TOOLS[tool])
        if figures is None:
            return None
        return {"calls_s": figures["calls_s"], "requests_per_call": node.requests / figures["calls"]}

    def start(self):
        """The time from exec to the first answered tools/list."""
        say("start")
        times = {OURS: [], SDK: [], ORIGINAL: []}
        for turn in range(self._effort.starts):
            for who, mode in ((OURS, "modern"), (SDK, "modern"), (ORIGINAL, "sse")):
                # A start takes a second: three are enough.
                if who == ORIGINAL and turn >= 3:
                    continue
                port = free_port()
                words = command(self._tools, who, port, self._clusters)
                started = load(self._tools.load, "start", mode, f"127.0.0.1:{port}", *words)
                times[who].append(started["start_ms"])
        return {who: {"start_ms": median(taken)} for who, taken in times.items()}

    def memory(self):
        """Resident MB: idle, with many SSE sessions if the server supports them, and after these have ended."""
        say("memory")
        rows = {}
        for who in (OURS, SDK, ORIGINAL):
            with Server(self._tools, who, self._clusters) as server:
                time.sleep(0.5)
                rows[who] = {"idle_mb": server.resident_mb()}
                if who == SDK:
                    continue
                holder = server.hold(HELD)
                time.sleep(0.5)
                rows[who]["held_mb"] = server.resident_mb()
                holder.communicate()
                time.sleep(2)
                rows[who]["after_mb"] = server.resident_mb()
        return rows

    def size(self):
        """Bytes on the disk. Our image contains the binary only. The original needs its packages and Python."""
        packages = os.path.dirname(os.path.dirname(self._tools.python))
        files = (os.path.join(folder, name) for folder, _, names in os.walk(packages) for name in names)
        return {
            OURS: os.path.getsize(self._tools.binary),
            SDK: os.path.getsize(self._tools.peer),
            ORIGINAL: sum(os.lstat(file).st_size for file in files),
        }

    def all(self):
        return {
            "comparison": self.comparison(),
            "sessions": list(self.growth_by_sessions()),
            "guests": list(self.growth_by_guests()),
            "clusters": list(self.growth_by_clusters()),
            "added": self.added(),
            "hanging": self.hanging(),
            "slow": self.slow(),
            "start": self.start(),
            "memory": self.memory(),
            "size": self.size(),
            "failures": self.failures,
        }


def over(a, b):
    """The ratio of two figures, or None if one is unknown or zero."""
    return a / b if a and b else None


def _median(values):
    values = [value for value in values if value is not None]
    return median(values) if values else None


def _medians(turns):
    whole = [turn for turn in turns if turn]
    return {figure: _median(turn[figure] for turn in whole) for figure in FIGURES}
