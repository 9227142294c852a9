"""From the runs of all laps to one figure for each peer and case: medians, spreads, and ratios of neighbours in time."""
import statistics

from peers import BARE, BARE_PROXY, LARDER, PEERS

# A run with more of others' work than this beside it counts only where there is no calmer one.
FOREIGN_MAX = 0.10
# What a case is held against: the program that only answers, or the one that only passes on.
BASE = {"pass": BARE_PROXY, "miss": BARE_PROXY}


class Figures:
    def __init__(self, rounds):
        self.rounds = rounds

    def runs(self, peer, case):
        """By lap, those that count."""
        found = {turn: row[peer][case] for turn, row in enumerate(self.rounds) if case in row.get(peer, {})}
        found = {turn: run for turn, run in found.items() if "failed" not in run}
        calm = {turn: run for turn, run in found.items() if run.get("foreign", 0) <= FOREIGN_MAX}
        return calm or found

    def foreign(self):
        """How much of a CPU others took beside what was measured, in the median of all runs."""
        found = [run["foreign"] for row in self.rounds for cases in row.values() for run in cases.values() if "foreign" in run]
        return statistics.median(found) if found else 0

    def values(self, peer, case, name):
        return [run[name] for run in self.runs(peer, case).values() if name in run]

    def median(self, peer, case, name):
        values = self.values(peer, case, name)
        return statistics.median(values) if values else None

    def spread(self, peer, case, name):
        values = self.values(peer, case, name)
        return (min(values), max(values)) if values else None

    def ratio(self, peer, base, case, name):
        """Median over the laps of this peer's figure over that of another in the same lap."""
        own, others = self.runs(peer, case), self.runs(base, case)
        # Where that lap's is missing or was disturbed, its median stands in.
        middle = self.median(base, case, name)
        if not own or not middle:
            return None
        return statistics.median(run[name] / others.get(turn, {name: middle})[name] for turn, run in own.items())

    def base_of(self, case):
        return BASE.get(case, BARE)

    def best(self, case, name):
        """The peer, Larder and the floors apart, that has the least of it."""
        found = {peer: self.median(peer, case, name) for peer in PEERS if PEERS[peer].kind == "proxy" and peer != LARDER}
        found = {peer: value for peer, value in found.items() if value is not None}
        return min(found, key=found.get) if found else None

    def measured(self, case):
        """Who has a figure for it, in the order of the peers."""
        return [peer for peer in PEERS if self.runs(peer, case)]
