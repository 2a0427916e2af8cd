#!/usr/bin/env python3
"""Compare two results of conformance: compare.py VIRTUAL HOST, each a result.txt.

Prints counts by sig and each test that ended differently, and fails if one
did worse in the virtual cluster. What a suite does before its tests counts as
a test where it fails."""
import collections, sys


def read(path):
    rows = [line.rstrip("\n").split("\t") for line in open(path) if line[0] != "#"]
    return {row[2]: row[0] for row in rows}


virtual, host = map(read, sys.argv[1:])
if not virtual:
    sys.exit("error: no test was run\nhint: look at --focus and --skip")
sigs = collections.defaultdict(collections.Counter)
different = []
for name, state in sorted(virtual.items()):
    there = host.get(name, "not run")
    sig = sigs[name.split("]")[0].lstrip("[")]
    sig["tests"] += 1
    sig["virtual"] += state == "pass"
    sig["host"] += there == "pass"
    if state != there:
        different.append((state, there, name))
print("| group | tests | pass on the host | pass in the virtual cluster |\n|---|---|---|---|")
for name, sig in sorted(sigs.items()):
    print(f'| {name} | {sig["tests"]} | {sig["host"]} | {sig["virtual"]} |')
if different:
    print("\n| test | host | virtual cluster |\n|---|---|---|")
for state, there, name in different:
    print(f"| {name} | {there} | {state} |")
worse = sum(state != "pass" for state, _, _ in different)
print(f"\n{worse} did worse in the virtual cluster than on the host")
sys.exit(worse > 0)
