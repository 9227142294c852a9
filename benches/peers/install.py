"""What is missing: packages of Debian, and the crates under rust/."""
import os, shutil, subprocess, sys

from peers import HERE, LARDER, PEERS, ROOT, TARGET

# Program: package.
TOOLS = {"wrk": "wrk", "taskset": "util-linux"}
POLICY = "/usr/sbin/policy-rc.d"


def packages(wanted):
    """Installs what has no program yet. No service of it is started: what is measured is started here, and nothing else has a port."""
    missing = sorted({package for program, package in wanted.items() if not shutil.which(program)})
    if not missing:
        return
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    own_policy = not os.path.exists(POLICY)
    if own_policy:
        # 101: not to be started. https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
        subprocess.run([*as_root, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' >{POLICY} && chmod +x {POLICY}"], check=True)
    try:
        command = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends", *missing]
        if subprocess.run(command, stdin=subprocess.DEVNULL).returncode:
            subprocess.run([*as_root, "apt-get", "update"], check=True, stdin=subprocess.DEVNULL)
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    finally:
        if own_policy:
            subprocess.run([*as_root, "rm", "-f", POLICY], check=True)


def build(peers, larder_binary=None):
    """The programs that are measured or needed for it; why pingora is not to be had, if so.

    Larder is built by its release profile, unless another binary of it was named."""
    if larder_binary:
        PEERS[LARDER].command[0] = PEERS[LARDER].version[0] = os.path.abspath(larder_binary)
    elif LARDER in peers:
        subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "larder"], cwd=ROOT, check=True)
    # Their profile is their own, whatever the environment says of the package's.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CARGO_PROFILE_")}
    build = ["cargo", "build", "--locked", "--release", "--target-dir", os.path.join(TARGET, "peers")]
    subprocess.run(build, cwd=os.path.join(HERE, "rust"), env=environment, check=True)
    if "pingora" not in peers:
        return None
    # A library in C that it compresses with is built by it.
    packages({"cmake": "cmake"})
    built = subprocess.run(build, cwd=os.path.join(HERE, "rust", "pingora"), env=environment)
    return f"cargo could not build it (status {built.returncode})" if built.returncode else None


def two_cpus():
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two CPUs are needed: one for the server, one for the load")
