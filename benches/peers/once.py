"""What is measured once and not in every round: what fills memory, what needs Redis, and what declares entries invalid.

Each case gives a table of its own.
"""
import statistics, subprocess, time

import load, server, shared
from cases import HOT, NotProven, hits
from peers import LARDER, PEERS
from report import Table, number, spaced
from server import Connection, Server

FEW = 1_000
SOME = 10_000
BODY_BYTES = 1024
# Room for a million entries of 1 KiB, whatever a server counts beside the body.
LARGE_CACHE_MB = 4_000
KEEP_FILES = ("nginx", "ats")
PURGES = 5_000
PURGES_ALONE = 7


def megabytes_on_disk(directory):
    said = subprocess.run(["du", "-sm", directory], stdout=subprocess.PIPE, text=True).stdout
    return int(said.split()[0])


def entry_bytes(origin):
    """Head and body of one answer, as the origin sends them."""
    _, head, body = Connection(origin.port).ask("/item/0?size=1024")
    return len(head) + 4 + len(body)


def entries(chosen, origin, runs, attempt):
    """Resident memory, and the CPU of a hit anywhere among the entries, while there are ever more of them."""
    rows, wanted, own = [], [], entry_bytes(origin)
    for name in chosen.peers:
        peer = PEERS[name]
        if not (peer.kind == "proxy" and not peer.only or "entries" in (peer.only or ())):
            continue
        found = attempt(name, lambda: entries_of(name, peer, chosen.entries, origin, runs, chosen.rounds * chosen.laps))
        if not found:
            continue
        # Without the first ten thousand, so that what is there once is not counted with each.
        beyond = (found["mb_all"] - found["mb_some"]) * 1e6 / (chosen.entries - SOME) - own
        growth = found["growth"]
        # Less than the bodies alone: memory was taken beforehand, or entries were let go.
        shown = number(beyond) if growth and beyond > -own / 2 else "–"
        rows.append([peer.title, *(number(found[key]) for key in ("mb_start", "mb_some", "mb_all")), shown,
                     number(found["us_few"]), number(found["us_all"]), number(growth)])
        if name == LARDER:
            wanted = [["bytes an entry beyond its own", "", beyond, 400],
                      [f"CPU of a hit among {spaced(chosen.entries)}", f"the same among {spaced(FEW)}", growth, 1.25]]
    head = ["", "MB at the start", f"MB with {spaced(SOME)}", f"MB with {spaced(chosen.entries)}", "bytes an entry beyond its own",
            f"CPU µs, {spaced(FEW)} entries", "CPU µs, all", "ratio"]
    note = (f"An entry's own bytes are the origin's head and body, {own} bytes. nginx and Traffic Server keep answers in files, which are added "
            "(on a file system in memory; nginx's in whole pages). HAProxy touches all of its cache at the start: what an entry takes of it "
            "does not show. Who let entries go has no figure for all of them. raw epoll has all of its answers from the start, and finds each "
            "by its number: what it grows by is memory itself, the kernel's copy included, and the load generator, which shares the caches.")
    return Table(f"Resident memory with keys of {BODY_BYTES} bytes, and a hit anywhere among them", head, rows, note), wanted


def entries_of(name, peer, count, origin, runs, laps):
    arguments = [f"entries={count}"] if name == "epoll" else ()
    with Server(name, peer, origin) as small, Server(name, peer, origin, cache_mb=LARGE_CACHE_MB, arguments=arguments) as large:
        def resident():
            return server.resident_mb(large.pids()) + (megabytes_on_disk(large.directory) if name in KEEP_FILES else 0)

        runs.warm(large, HOT)
        found = {"mb_start": resident()}
        load.fill(small.port, 0, FEW)
        load.fill(large.port, 0, SOME)
        found["mb_some"] = resident()
        load.fill(large.port, SOME, count, connections=32)
        found["mb_all"] = resident()
        try:
            found |= beside_each_other([(small, FEW), (large, count)], runs, laps)
        except NotProven:
            # Others may have less room than they were given; ours is what all this is for.
            if name == LARDER:
                raise
            found |= {"us_few": None, "us_all": None, "growth": None}
        return found


def beside_each_other(servers, runs, laps):
    """A hit anywhere among the few and among all, in turn: a machine that is slower for a minute is so for both."""
    def urls(kept):
        return {"script": load.MANY, "arguments": [kept, "/item/", "?size=1024"]}
    for asked, kept in servers:
        runs.warm(asked, "/", **urls(kept))
    pairs = [[hits(asked, runs, "/", **urls(kept))["cpu_us"] for asked, kept in servers] for _ in range(laps)]
    few, everything = (statistics.median(values) for values in zip(*pairs))
    return {"us_few": few, "us_all": everything, "growth": statistics.median(many / one for one, many in pairs)}


def purge(chosen, origin, _runs, attempt):
    """What it costs to declare one entry invalid, and ten thousand in one go."""
    rows = []
    for name in chosen.peers:
        peer = PEERS[name]
        if name == LARDER or peer.purge:
            rows += attempt(name, lambda: purge_of(name, peer, origin)) or []
    return Table("Purging", ["", "what", "CPU µs of each", "p50 µs", "p99 or longest µs"], rows,
                 f"{spaced(PURGES)} one after the other over one connection; alone: to a server with {spaced(SOME)} entries and nothing to do, "
                 f"over a new connection, with what it does in the 0.3 s after, medians of {PURGES_ALONE} and the longest. Larder by `POST /invalidate` "
                 "with `wait = \"self\"`; nginx (the free one), HAProxy 2.6 and pingora's proxy have no such request; Squid and Traffic "
                 "Server none for many. Varnish's BAN is tried on each entry when that is next asked for."), []


def purge_of(name, peer, origin):
    with Server(name, peer, origin) as under_test:
        if name == LARDER:
            port = under_test.admin
            one, every = ({"method": "POST", "body": f'{{"tags":["{tag}"],"wait":"self"}}'} for tag in ("item:{n}", "items"))
            target, target_all, what, what_all = "/invalidate", "/invalidate", "a tag on one entry", "a tag on 10 000 entries, alone"
        else:
            port, (method, target) = under_test.port, peer.purge
            one, what = {"method": method}, f"{method} of one URL"
            method_all, target_all = peer.purge_all or (None, None)
            every, what_all = {"method": method_all}, f"{method_all} of 10 000 by a pattern, alone"
        load.fill(port=under_test.port, first=0, end=SOME)
        before = server.cpu_nanoseconds(under_test.pids())
        found = load.client(port, target, count=PURGES, **one)
        cpu = (server.cpu_nanoseconds(under_test.pids()) - before) / 1000 / PURGES
        prove_purged(under_test, found, PURGES)
        rows = [[peer.title, what, number(cpu), number(found["p50_us"]), number(found["p99_us"])]]
        if not target_all:
            return rows
        for what, target, how in ((f"{what}, alone", target, one), (what_all, target_all, every)):
            rows.append([peer.title, what, *map(number, alone(under_test, port, target, how))])
        return rows


def alone(under_test, port, target, how):
    """One request to a server that has nothing else to do and all entries: CPU, and latency with that of the connection."""
    cpus, latencies = [], []
    for _ in range(PURGES_ALONE):
        load.fill(under_test.port, 0, SOME)
        time.sleep(0.3)
        before = server.cpu_nanoseconds(under_test.pids())
        found = load.client(port, target, first=7, **how)
        time.sleep(0.3)
        cpus.append((server.cpu_nanoseconds(under_test.pids()) - before) / 1000)
        latencies.append(found["p50_us"])
        prove_purged(under_test, found, 1)
    return statistics.median(cpus), statistics.median(latencies), max(latencies)


def prove_purged(under_test, found, count):
    """All were accepted, and one of them is fetched anew."""
    if found["failed"] or found["statuses"] != {"200": count}:
        raise NotProven(f"purging: {found}")
    before = under_test.origin.tell("count")
    Connection(under_test.port).ask("/item/7?size=1024")
    if under_test.origin.tell("count") == before:
        raise NotProven("what was purged is still answered")


CASES = {"entries": entries, "redis": shared.hits, "purge": purge}
# What is told of a run while others are still to come.
SHOWN = ("cpu_us", "cpu_s_per_gb", "rps", "p50_us", "p99_us", "fetches", "last_ms", "growth", "foreign")


def tools(chosen):
    return shared.TOOLS if "redis" in chosen.only and LARDER in chosen.peers else {}


def measure(chosen, origin, runs, results, failures, say):
    for case in CASES:
        if case not in chosen.only:
            continue

        def attempt(name, work):
            try:
                found = work()
                say(f"{case} {name}: {found if isinstance(found, (dict, list)) else 'done'}")
                return found
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                failures.append(f"{case}, {name}: {error}")
                say(f"!! {failures[-1]}")
                return None
        table, wanted = CASES[case](chosen, origin, runs, attempt) or (None, [])
        if table and table.rows:
            results["once"].append(vars(table))
            results["wanted"] += wanted
