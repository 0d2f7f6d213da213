"""The comparison as a chart: bars on a logarithmic scale. SVG without scripts, for light and dark pages."""

import math
from html import escape

from measures import LONG_ANSWER
from tables import times

# The number of sessions in the chart. The long answer is measured with one session.
SESSIONS = 64
PEERS = (("modern", "sdk", "the official Rust SDK, over POST /mcp"), ("sse", "original", "Python, over HTTP+SSE"))
PANELS = (("calls_s", "Calls per second, times more"), ("cpu", "CPU per call, times less"))

WIDTH, NAMES, PANEL, GAP = 960, 200, 330, 40
TOP, BAR, ROW = 128, 16, 60
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; }
.panel { font-weight: 600; }
.quiet { fill: #59636e; }
.card { fill: #ffffff; stroke: #d1d9e0; }
.line { stroke: #d1d9e0; }
.one { stroke: #59636e; }
.sdk { fill: #0969da; }
.original { fill: #bf8700; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.quiet { fill: #9198a1; }
.card { fill: #0d1117; stroke: #3d444d; }
.line { stroke: #3d444d; }
.one { stroke: #9198a1; }
.sdk { fill: #4493f8; }
.original { fill: #d29922; }
}
"""


def _bars(results):
    """The ratios by tool and peer."""
    chosen = {}
    for row in results["comparison"]:
        if row["sessions"] == SESSIONS or row["tool"] == LONG_ANSWER:
            for mode, kind, _ in PEERS:
                if row["mode"] == mode:
                    chosen.setdefault(row["tool"], {})[kind] = row["times"]
    return chosen


class _Scale:
    """Maps ratios to x. Bars begin at 1."""

    def __init__(self, left, factors):
        ticks = [digit * 10**power for power in range(-2, 5) for digit in (1, 2, 5)]
        # Room for the number at the end of the longest bar.
        low, high = min([1, *factors]), max([2, *factors]) * 1.5
        first = max(tick for tick in ticks if tick <= low)
        self.ticks = [tick for tick in ticks if first <= tick <= high]
        self._left, self._low, self._width = left, math.log(first), PANEL / (math.log(high) - math.log(first))

    def x(self, factor):
        return self._left + (math.log(factor) - self._low) * self._width


def _panel(left, key, heading, bars):
    # Both panels have the same scale, so that they can be compared.
    figures = [figures for of_tool in bars.values() for figures in of_tool.values()]
    factors = [found[known] for found in figures for known, _ in PANELS if found[known]]
    scale, bottom = _Scale(left, factors), TOP + ROW * len(bars)
    yield f'<text class="panel" x="{left}" y="{TOP - 28}">{escape(heading)}</text>'
    for tick in scale.ticks:
        x, kind = scale.x(tick), "one" if tick == 1 else "line"
        yield f'<line class="{kind}" x1="{x:.1f}" y1="{TOP - 12}" x2="{x:.1f}" y2="{bottom}"/>'
        yield f'<text class="quiet" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
    for nth, of_tool in enumerate(bars.values()):
        y = TOP + ROW * nth + (ROW - 8 - BAR * len(of_tool)) / 2 - 4
        for kind, figures in of_tool.items():
            if figures[key]:
                begin, end = sorted((scale.x(1), scale.x(figures[key])))
                size = f'width="{max(end - begin, 1):.1f}" height="{BAR - 2}"'
                yield f'<rect class="{kind}" x="{begin:.1f}" y="{y:.1f}" {size} rx="2"/>'
                yield f'<text x="{end + 6:.1f}" y="{y + BAR - 5:.1f}">{times(figures[key])}</text>'
            y += BAR


def _words(bars):
    """The chart as text, for screen readers."""
    for tool, of_tool in bars.items():
        for mode, kind, name in PEERS:
            if kind in of_tool:
                said = (f"{heading.lower()}: {times(of_tool[kind][key])}" for key, heading in PANELS)
                yield f"{tool} compared with {name}: {'; '.join(said)}."


def draw(results):
    """Returns the SVG."""
    bars = _bars(results)
    height = TOP + ROW * len(bars) + 64
    title = "proxmox-mcp compared with the same tools on other servers"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        ' role="img" aria-labelledby="title desc">',
        f'<title id="title">{title}</title>',
        f'<desc id="desc">{escape(" ".join(_words(bars)))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="title" x="24" y="34">{title}</text>',
    ]
    x = 24
    for _, kind, name in PEERS:
        parts.append(f'<rect class="{kind}" x="{x}" y="48" width="12" height="12" rx="2"/>')
        parts.append(f'<text x="{x + 18}" y="59">compared with {escape(name)}</text>')
        x += 340
    for nth, tool in enumerate(bars):
        y = TOP + ROW * nth + (ROW - 8) / 2
        under = "3.4 MB, 1 session" if tool == LONG_ANSWER else f"{SESSIONS} sessions"
        parts.append(f'<text x="24" y="{y - 6:.0f}">{escape(tool)}</text>')
        parts.append(f'<text class="quiet" x="24" y="{y + 11:.0f}">{under}</text>')
    for nth, (key, heading) in enumerate(PANELS):
        parts += _panel(NAMES + nth * (PANEL + GAP), key, heading, bars)
    note = "Logarithmic scale; right of 1 is better. Medians of alternating rounds, in one run on one machine."
    parts.append(f'<text class="quiet" x="24" y="{height - 18}">{note}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"
