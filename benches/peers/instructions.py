"""User-space instructions of a hit, by callgrind: the same on a busy machine and on a quiet one.

What a process needs to start, and to serve a first few, is taken out by counting twice: the difference between many requests and
few, over the difference in their number.
"""
import glob, re, shutil, signal, subprocess, tempfile

from cases import HOT, prove_hit
from load import HEADERS
from peers import BARE, PEERS
from report import Table, number, spaced
from server import LOAD_CPU, SCRATCH, Origin, Server, pinned

FEW, MANY = 2_000, 12_000
CONNECTIONS = 16
# Threads that callgrind can follow to the end, or a program of which it counts anything at all.
COUNTED = ("larder", "epoll", BARE, "smallest", "nginx", "haproxy", "pingora")
TOOLS = {"valgrind": "valgrind", "h2load": "nghttp2-client"}
START_SECONDS_MAX = 120
# glibc copies some KiB by an instruction that repeats itself, of which valgrind counts every byte.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS"}


def measure(chosen, failures, say):
    counted = {}
    with Origin() as origin:
        for name in (name for name in COUNTED if name in chosen.peers):
            try:
                few, many = (instructions(name, PEERS[name], origin, requests) for requests in (FEW, MANY))
                counted[name] = (many - few) / (MANY - FEW)
                say(f"{name}: {counted[name]:.0f} instructions")
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                failures.append(f"instructions, {name}: {error}")
                say(f"!! {failures[-1]}")
    rows = [[PEERS[name].title, spaced(value), *(number(counted.get(base) and value / counted[base]) for base in (BARE, "nginx"))]
            for name, value in counted.items()]
    return Table("User-space instructions of a hit, 1 KiB, one URL", ["", "instructions", f"to {BARE}", "to nginx"], rows,
                 "valgrind's processor has no instructions of its own for SHA-256, which Larder's keys are made with: "
                 "it needs some ten times as many for that as a real one.")


def instructions(name, peer, origin, requests):
    """All that a process has needed from its start until it has answered so many."""
    directory = tempfile.mkdtemp(prefix="callgrind-", dir=SCRATCH)
    wrap = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out.%p", "--max-stackframe=8000000"]
    under_test = Server(name, peer, origin, wrap=wrap, environment=ENVIRONMENT, start_seconds_max=START_SECONDS_MAX)
    try:
        if peer.kind == "proxy":
            prove_hit(under_test, HOT, 1024)
        command = ["h2load", "--h1", f"-n{requests}", f"-c{CONNECTIONS}", "-t1", *HEADERS, f"http://127.0.0.1:{under_test.port}{HOT}"]
        said = subprocess.run(pinned(LOAD_CPU, command), stdout=subprocess.PIPE, text=True, timeout=300).stdout
        if f" {requests} succeeded" not in said:
            raise RuntimeError(f"h2load: {said[-500:]}")
        # Written now, whatever the program makes of the end. A worker of nginx is a process of its own, with a file of its own.
        for pid in under_test.pids():
            subprocess.run(["callgrind_control", "-d", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        under_test.stop(signal.SIGINT)
    counted = 0
    for path in glob.glob(f"{directory}/out.*"):
        with open(path) as out:
            found = re.search(r"^(?:summary|totals): (\d+)", out.read(), re.M)
        counted += int(found[1]) if found else 0
    shutil.rmtree(directory)
    return counted
