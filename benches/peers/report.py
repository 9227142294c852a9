"""The tables: on a terminal as they are, and as Markdown for docs/performance.md."""
from cases import HERD_DELAY_MS, LIGHT_RATE
from figures import FOREIGN_MAX, Figures
from peers import BARE, BARE_PROXY, LARDER, PEERS

TITLES = {
    "hit": "hit, 1 KiB, one URL",
    "hit-many": "hit, 1 KiB, 10 000 URLs",
    "not-modified": "304, one URL",
    "hit-100k": "hit, 100 KiB",
    "hit-1m": "hit, 1 MiB",
    "pass": "pass (no-store, instant origin)",
    "miss": "miss, stored",
}
LARGE = ("hit-100k", "hit-1m")
HERDS = {
    "herd": "cold key",
    "herd-pass": "uncacheable, first time",
    "herd-pass-known": "uncacheable, once that is known",
}

OTHERS = {"light": f"hit at {LIGHT_RATE} requests/s, one connection", "cores": "hit, from one core to two"}
NAMES = {"cpu_us": "CPU", "cpu_s_per_gb": "CPU", "fetches": "fetches", "last_ms": "last answer, ms", "p50_us": "p50",
         "growth": "growth of CPU"}

# What is wanted of Larder: case, figure, beside whom (None: as it is), and at most.
WANTED = [
    ("hit", "cpu_us", BARE, 1.10), ("hit", "cpu_us", "nginx", 0.78), ("hit-many", "cpu_us", "best", 0.80),
    ("hit-100k", "cpu_s_per_gb", "best", 1.05), ("hit-1m", "cpu_s_per_gb", "best", 1.05),
    ("pass", "cpu_us", "nginx", 1.0), ("pass", "cpu_us", BARE_PROXY, None),
    ("miss", "cpu_us", "nginx", 0.80), ("miss", "cpu_us", BARE_PROXY, None),
    ("herd", "fetches", None, 1), ("herd", "last_ms", None, HERD_DELAY_MS + 10),
    ("herd-pass", "last_ms", None, 2.1 * HERD_DELAY_MS), ("herd-pass-known", "last_ms", None, 1.1 * HERD_DELAY_MS),
    ("light", "p50_us", "nginx", 1.1), ("cores", "growth", None, 0.10),
]


def number(value, digits=3):
    """Three digits are as many as anything here is good for."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:,.{max(0, digits - max(whole, 1) + (abs(value) < 1))}f}".replace(",", " ")


def spaced(value):
    """Whole, and readable when it is long."""
    return f"{value:,.0f}".replace(",", " ")


class Table:
    def __init__(self, title, head, rows, note=""):
        self.title, self.head, self.rows, self.note = title, head, [[str(cell) for cell in row] for row in rows], note

    def text(self):
        widths = [max(len(row[column]) for row in [self.head, *self.rows]) for column in range(len(self.head))]
        lines = [f"== {self.title}"]
        for first, *others in [self.head, *self.rows]:
            padded = [cell.rjust(width) for cell, width in zip(others, widths[1:])]
            lines.append("  ".join([first.ljust(widths[0]), *padded]))
        return "\n".join(lines + ([self.note] if self.note else []))

    def markdown(self):
        rows = [self.head, ["---"] * len(self.head), *self.rows]
        lines = [f"**{self.title}**", "", *(f"| {' | '.join(row)} |" for row in rows)]
        return "\n".join(lines + (["", self.note] if self.note else []))


def summary(figures):
    """One row for each case, one column for each peer: what the server's CPU has to do."""
    peers = [peer for peer in PEERS if any(figures.runs(peer, case) for case in TITLES)]
    rows = []
    for case, title in TITLES.items():
        name = "cpu_s_per_gb" if case in LARGE else "cpu_us"
        row = [figures.median(peer, case, name) for peer in peers]
        if any(row):
            rows.append([f"{title} (CPU s per GB)" if case in LARGE else title, *map(number, row)])
    for case, title in HERDS.items():
        row = [(figures.median(peer, case, "fetches"), figures.median(peer, case, "last_ms")) for peer in peers]
        if any(fetches for fetches, _ in row):
            rows.append([f"200 clients, {title}, {HERD_DELAY_MS} ms origin: fetches / last answer ms",
                         *(f"{fetches:.0f} / {last:.0f}" if fetches else "–" for fetches, last in row)])
    for case, title, name in (("light", f"{OTHERS['light']}: p50 / p99 µs", "p50_us"), ("start", "start to first answer, ms", "ms")):
        row = [figures.median(peer, case, name) for peer in peers]
        if any(row):
            both = [figures.median(peer, case, "p99_us") for peer in peers]
            rows.append([title, *(f"{number(value)} / {number(other)}" if other else number(value) for value, other in zip(row, both))])
    return Table("CPU µs of the server for each request, medians", ["", *(PEERS[peer].title for peer in peers)], rows)


def wanted(figures, more):
    """Larder's ratios beside what is wanted of them; more of them come from what is measured once."""
    rows = []
    for case, name, beside, most in WANTED:
        if not figures.runs(LARDER, case):
            continue
        other = figures.best(case, name) if beside == "best" else beside
        value = figures.ratio(LARDER, other, case, name) if other else figures.median(LARDER, case, name)
        if value is None:
            continue
        against = "" if other is None else f"best peer ({PEERS[other].title})" if beside == "best" else PEERS[other].title
        title = TITLES.get(case) or HERDS.get(case) or OTHERS[case]
        rows.append((f"{title}: {NAMES[name]}", against, value, most))
    rows = [[title, against, number(value), "–" if most is None else f"{most:g}", "?" if figures.foreign() > FOREIGN_MAX else holds(value, most)]
            for title, against, value, most in [*rows, *more]]
    return Table("Larder beside what is wanted", ["", "ratio to", "figure", "at most", "holds"], rows)


def holds(value, most):
    if value is None or most is None:
        return ""
    return "yes" if value <= most else "**no**"


def case_table(figures, case):
    name = "cpu_s_per_gb" if case in LARGE else "cpu_us"
    base, best = figures.base_of(case), figures.best(case, name)
    rows = []
    for peer in figures.measured(case):
        low, high = figures.spread(peer, case, name)
        ratios = [figures.ratio(peer, other, case, name) if other else None for other in (base, "nginx", best)]
        middle = {column: figures.median(peer, case, column) for column in (name, "rps", "p50_us", "p99_us", "foreign")}
        rows.append([PEERS[peer].title, spaced(middle["rps"]), f"{number(middle[name])} ({number(low)}–{number(high)})", *map(number, ratios),
                     number(middle["p50_us"]), number(middle["p99_us"]), f"{middle['foreign']:.0%}"])
    unit = "CPU s per GB" if case in LARGE else "CPU µs"
    to = PEERS[best].title if best else "–"
    head = ["", "requests/s", f"{unit}, median (least–most)", f"to {PEERS[base].title}", "to nginx", f"to the best peer ({to})",
            "p50 µs", "p99 µs", "others' CPU"]
    return Table(TITLES[case], head, rows)


def herd_table(figures, case):
    columns = ("fetches", "at_once", "first_ms", "p50_ms", "last_ms")
    rows = [[PEERS[peer].title, *(spaced(figures.median(peer, case, name)) for name in columns)] for peer in figures.measured(case)]
    return Table(f"200 clients at once, {HERDS[case]}, an origin of {HERD_DELAY_MS} ms",
                 ["", "fetches", "most at once", "first ms", "median ms", "last ms"], rows)


def cores_table(figures):
    rows = [[PEERS[peer].title, *(number(figures.median(peer, "cores", name)) for name in ("cpu_us_1", "cpu_us_2")),
             f"{figures.median(peer, 'cores', 'growth'):+.1%}"] for peer in figures.measured("cores")]
    return Table("A hit with one worker and with two, the load on the same two CPUs",
                 ["", "CPU µs, 1 worker", "2 workers", "growth"], rows)


def tables(results):
    """All that there are figures for; the first two are the ones to look at."""
    figures = Figures(results["rounds"])
    found = [summary(figures), wanted(figures, results.get("wanted", []))]
    found += [case_table(figures, case) for case in TITLES if figures.measured(case)]
    found += [herd_table(figures, case) for case in HERDS if figures.measured(case)]
    if figures.measured("cores"):
        found.append(cores_table(figures))
    found += [Table(**table) for table in results.get("once", [])]
    return [table for table in found if table.rows]


def heading(results):
    """When, where and with what."""
    about = results["about"]
    versions = "; ".join(f"{PEERS[peer].title}: {version}" for peer, version in about["versions"].items())
    foreign = Figures(results["rounds"]).foreign()
    disturbed = f" **Others took {foreign:.0%} of a CPU meanwhile: nothing is judged, and only what is far apart is.**"
    return (f"{about['date']}; {about['machine']}; {about['rounds']} rounds, {about['laps']} laps of {about['seconds']} s a case in each, 64 connections with keep-alive, "
            f"the server on CPU 0, origin and load on CPU 1. {versions}."
            f"{disturbed if foreign > FOREIGN_MAX else ''}")
