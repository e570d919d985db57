"""Known security faults of all that is installed here, by pip-audit from OSV's advisories.

Ends with 1 if there is one that is not accepted below. Without a network nothing can be checked; that is said, and no
failure: a fault that became known overnight is none of the change that is being tested, and a later run finds it.
"""

import json
import subprocess
import sys

ACCEPTED = {
    # Ray runs the programs that it is sent, and its authors do not take that for a fault. Clusters that raypose starts
    # listen on the loopback address, and every one that it uses asks for a token (tests/tuning/test_cluster.py).
    "CVE-2023-48022",
}
COMMAND = ["pip-audit", "--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off"]
SILENCE_S, LONGEST_S = 10, 180


def main() -> int:
    """Print what was found; returns the exit code."""
    try:
        done = subprocess.run(
            [*COMMAND, "--timeout", str(SILENCE_S)], capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        print("pip-audit: the advisories cannot be reached from here: no package was checked")
        return 0
    checked = [package for package in found if "vulns" in package]
    faults = [(p, fault) for p in checked for fault in p["vulns"] if not ACCEPTED & {fault["id"], *fault["aliases"]}]
    for package, fault in faults:
        mended = ", ".join(fault["fix_versions"]) or "no version yet"
        names = ", ".join([fault["id"], *fault["aliases"]])
        print(f"pip-audit: {package['name']} {package['version']}: {names}; mended in {mended}")
    print(f"pip-audit: {len(checked)} packages checked, {len(faults)} faults that are not accepted")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
