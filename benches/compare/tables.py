"""Tables of the results: ratios for docs/speed.md, all figures and goals for the terminal."""

from measures import HELD, LONG_ANSWER, MANY, MODES, over
from servers import ORIGINAL, OURS, SDK

BEGIN, END = "<!-- bench: made by benches/compare -->\n", "<!-- /bench -->"
HEADS = {"http": "SDK, 2025-06-18", "modern": "SDK, 2026-07-28", "sse": "Python, HTTP+SSE"}


def number(value, digits=0):
    return "–" if value is None else f"{value:.{digits}f}"


def times(value):
    """A ratio in two or three digits."""
    return number(value, 0 if value and value >= 20 else 1)


def _mb(kib):
    return number(kib and kib * 1.024 / 1000, 1)


def _cells(rows):
    found = {row["mode"]: row["times"] for row in rows}
    for mode, _ in MODES:
        factors = found.get(mode)
        yield " / ".join(times(factors[key]) for key in ("calls_s", "cpu", "p99")) if factors else ""


def _comparison(rows):
    lines = [
        f"| tool | sessions | {' | '.join(HEADS[mode] for mode, _ in MODES)} |",
        "|---|---|" + "---|" * len(MODES),
    ]
    for tool, sessions in dict.fromkeys((row["tool"], row["sessions"]) for row in rows):
        cells = _cells(row for row in rows if (row["tool"], row["sessions"]) == (tool, sessions))
        name = f"`{tool}`, 3.4 MB as they come" if tool == LONG_ANSWER else f"`{tool}`"
        lines.append(f"| {name} | {sessions} | {' | '.join(cells)} |")
    return lines


def _others(results):
    """The rows of the second table."""
    few, many = results["sessions"][0], results["sessions"][-1]
    thousands, most = results["guests"][-2], results["guests"][-1]
    added, start, memory, size = (results[key] for key in ("added", "start", "memory", "size"))
    ours, sdk, original = memory[OURS], memory[SDK], memory[ORIGINAL]
    yield (
        "time that a call of `list_nodes` adds to asking the node directly, over a kept TLS connection",
        f"{over(added[OURS]['added_ms'], added[SDK]['added_ms']):.2f} times what the SDK adds",
    )
    yield (
        f"{many['sessions']} sessions of `get_cluster_resources`, compared with {few['sessions']}",
        f"{times(over(many['calls_s'], few['calls_s']))} times the calls per second, "
        f"{number(over(many['cpu_us'], few['cpu_us']), 2)} times the CPU per call; "
        f"{_mb(many['resident_kib'])} MB instead of {_mb(few['resident_kib'])} MB",
    )
    guest = over(most["ours"]["cpu_us_a_guest"], thousands["ours"]["cpu_us_a_guest"])
    yield (
        f"CPU per guest with {most['guests']:,} guests, compared with {thousands['guests']:,}",
        f"{number(guest, 2)} times",
    )
    one, every = results["clusters"][0], results["clusters"][-1]
    yield (
        f"CPU per cluster of `list_nodes` on {every['clusters']} clusters, compared with {one['clusters']}",
        f"{number(over(every['cpu_us_a_cluster'], one['cpu_us_a_cluster']), 2)} times",
    )
    yield (
        "the 99th percentile of calls to a cluster while another one hangs",
        f"{results['hanging']['p99_times_quiet']:.2f} times that without a hanging cluster",
    )
    for tool, row in results["slow"].items():
        yield (
            f"{row['sessions']} sessions of `{tool}`, a node of three workers and 5 ms per request",
            f"{times(row['times_sdk'])} times the calls per second of the SDK, "
            f"{number(row['requests_per_call'], 3)} requests per call",
        )
    faster = {who: times(start[who]["start_ms"] / start[OURS]["start_ms"]) for who in (SDK, ORIGINAL)}
    yield (
        "from start to the first answered `tools/list`",
        f"{faster[SDK]} times as fast as the SDK, {faster[ORIGINAL]} times as fast as Python",
    )
    yield (
        "memory, idle",
        f"{ours['idle_mb']:.1f} MB (SDK {sdk['idle_mb']:.1f} MB, Python {original['idle_mb']:.0f} MB)",
    )
    yield (
        f"memory, with {HELD:,} SSE sessions, and after they have ended",
        f"{ours['held_mb']:.0f} MB, {ours['after_mb']:.0f} MB "
        f"(Python {original['held_mb']:.0f} MB, {original['after_mb']:.0f} MB)",
    )
    yield (
        "the static binary, the only file of the image",
        f"{size[OURS] / 1e6:.1f} MB (SDK {size[SDK] / 1e6:.1f} MB, Python's packages {size[ORIGINAL] / 1e6:.0f} MB)",
    )


def page(results):
    """The part of docs/speed.md between the markers."""
    versions = results["versions"]
    lines = [
        "Each cell has three ratios: calls per second / CPU per call / 99th percentile of the duration of a call. "
        "Above 1, proxmox-mcp is better.",
        "",
        *_comparison(results["comparison"]),
        "",
        "| what | measured |",
        "|---|---|",
        *(f"| {what} | {measured} |" for what, measured in _others(results)),
        "",
        f"{versions['product']}, static, compared with an SDK server ({versions['sdk']}) and a Python server "
        f"({versions['original']}). The node is {versions['node']}. Measured on {versions['machine']}, with "
        f"`{' '.join(MANY)}`. By default 64 calls per cluster run and 64 wait.",
    ]
    return "\n".join(lines) + "\n"


def update(path, results):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise RuntimeError(f"{path} has no markers for the table: {BEGIN.strip()} … {END}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + page(results) + END + after)


def _times(results, tool, sessions, figure):
    """How many times better than the SDK a tool is, over POST /mcp of 2025-06-18."""
    found = (row for row in results["comparison"] if (row["tool"], row["sessions"], row["mode"]) == (tool, sessions, "http"))
    return next(found)["times"][figure] or 0


def goals(results):
    """Each goal: its name, the figure, its limit, and whether it is met."""
    memory = results["memory"][OURS]
    at_least = [
        ("list_clusters, 16 sessions, times the SDK", _times(results, "list_clusters", 16, "calls_s"), 4),
        ("list_clusters, 16 sessions, times less CPU", _times(results, "list_clusters", 16, "cpu"), 4),
        ("list_nodes, 16 sessions, times the SDK", _times(results, "list_nodes", 16, "calls_s"), 2),
        ("list_nodes, 16 sessions, times less CPU", _times(results, "list_nodes", 16, "cpu"), 2),
        ("get_cluster_resources, 16 sessions, times the SDK", _times(results, "get_cluster_resources", 16, "calls_s"), 3),
        ("3.4 MB as they come, times the SDK", _times(results, LONG_ANSWER, 1, "calls_s"), 5),
    ]
    at_most = [
        ("added time of a call, ms", results["added"][OURS]["added_ms"], 0.15),
        ("p99 while another cluster hangs, ratio to without", results["hanging"]["p99_times_quiet"], 1.2),
        ("start to the first tools/list, ms", results["start"][OURS]["start_ms"], 10),
        ("memory idle, MB", memory["idle_mb"], 6),
        (f"memory with {HELD} SSE sessions, MB", memory["held_mb"], 30),
        ("memory after they have ended, MB", memory["after_mb"], 8),
        ("size of the binary, bytes", results["size"][OURS], 14_000_000),
    ]
    for tool, row in results["slow"].items():
        at_least.append((f"{tool}, slow node, times the SDK", row["times_sdk"] or 0, 8))
        share = over(row["requests_per_call"], row["requests_per_call_sdk"]) or 1
        at_most.append((f"{tool}, slow node, requests compared with the SDK's", share, 1 / 8))
    met = [(what, figure, f"at least {least}", figure >= least) for what, figure, least in at_least]
    met += [(what, figure, f"at most {most}", figure <= most) for what, figure, most in at_most]
    return [{"what": what, "measured": figure, "goal": goal, "met": is_met} for what, figure, goal, is_met in met]


def report(results):
    """All figures of this machine and this run."""
    yield f"{'':52} {'calls/s':>17} {'p50 µs':>17} {'p99 µs':>17} {'CPU µs':>17}   ours | theirs; times better"
    for row in results["comparison"] + results["guests"]:
        guests = f"of {row['guests']} guests, " if "guests" in row else ""
        name = f"{row['tool']}, {guests}{row['sessions']} sessions, {row['mode']}"
        pairs = [(row["ours"][key], row["theirs"][key]) for key in ("calls_s", "p50_us", "p99_us", "cpu_us")]
        columns = " ".join(f"{number(ours):>7} | {number(theirs):>7}" for ours, theirs in pairs)
        better = ", ".join(f"{key} {times(value)}" for key, value in row["times"].items())
        yield f"{name:52} {columns}   {better}"
    for row in results["sessions"]:
        speed = f"{number(row['calls_s'])} calls/s, p99 {number(row['p99_us'])} µs"
        cost = f"{number(row['cpu_us'])} µs of CPU per call, {_mb(row['resident_kib'])} MB"
        yield f"growth, {row['sessions']} sessions: {speed}, {cost}"
    for row in results["guests"]:
        sides = ", ".join(f"{side} {number(row[side]['cpu_us_a_guest'], 2)}" for side in ("ours", "theirs"))
        memory = f"{_mb(row['ours']['resident_kib'])} MB, theirs {_mb(row['theirs']['resident_kib'])} MB"
        yield f"growth, {row['guests']} guests: µs of CPU per guest: {sides}; {memory}"
    for row in results["clusters"]:
        cost = f"{number(row['cpu_us_a_cluster'])} µs of CPU per cluster, {_mb(row['resident_kib'])} MB"
        yield f"growth, {row['clusters']} clusters: {number(row['calls_s'])} calls/s, {cost}"
    for key in ("added", "hanging", "slow", "start", "memory", "size"):
        yield f"{key}: {results[key]}"
    for goal in goals(results):
        met = "met   " if goal["met"] else "MISSED"
        yield f"{met} {goal['what']}: {goal['measured']:.3f} ({goal['goal']})"
