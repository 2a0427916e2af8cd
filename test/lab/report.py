#!/usr/bin/env python3
"""Turn the ginkgo JSON reports of one run of conformance into lists and one junit file."""
import collections, glob, json, os, sys
from xml.sax.saxutils import escape, quoteattr

out = sys.argv[1]
rows = []
for path in sorted(glob.glob(os.path.join(out, "*.json"))):
    for suite in json.load(open(path)):
        for s in suite.get("SpecReports") or []:
            if s["LeafNodeType"] != "It":
                if s["State"] not in ("passed", "skipped") and s.get("Failure"):
                    rows.append(("fail", 0, s["LeafNodeType"], s["Failure"].get("Message", "")))
                continue
            msg = (s.get("Failure") or {}).get("Message", "")
            if s["State"] == "pending" or (s["State"] == "skipped" and not msg):
                continue  # not selected
            name = " ".join((s.get("ContainerHierarchyTexts") or []) + [s["LeafNodeText"]])
            state = {"passed": "pass", "skipped": "skip"}.get(s["State"], "fail")
            rows.append((state, s["RunTime"] / 1e9, name, msg if state != "pass" else ""))
rows.sort(key=lambda r: r[2])


def brief(msg):
    return " / ".join(l.strip() for l in msg.splitlines() if l.strip())[:300]


sigs = collections.defaultdict(collections.Counter)
with open(os.path.join(out, "result.txt"), "w") as f:
    for state, sec, name, msg in rows:
        f.write(f"{state}\t{sec:.1f}\t{name}" + (f"\t{brief(msg)}" if msg else "") + "\n")
        sigs[name.split("]")[0].lstrip("[")][state] += 1
with open(os.path.join(out, "sigs.txt"), "w") as f:
    for sig in sorted(sigs):
        c = sigs[sig]
        f.write(f'{sig}: {c["pass"]} passed, {c["fail"]} failed, {c["skip"]} skipped\n')
with open(os.path.join(out, "failures.txt"), "w") as f:
    for state, _, name, msg in rows:
        if state == "fail":
            f.write(f"{name}\n    {brief(msg)}\n")
n = {k: sum(r[0] == k for r in rows) for k in ("pass", "fail", "skip")}
with open(os.path.join(out, "junit.xml"), "w") as f:
    f.write(f'<testsuite name="conformance" tests="{len(rows)}" failures="{n["fail"]}" skipped="{n["skip"]}">\n')
    for state, sec, name, msg in rows:
        f.write(f'<testcase name={quoteattr(name)} time="{sec:.1f}">')
        if state == "fail":
            f.write(f"<failure>{escape(''.join(c for c in msg if c >= ' ' or c in chr(10)+chr(9)))}</failure>")
        elif state == "skip":
            f.write(f"<skipped message={quoteattr(msg.splitlines()[0])}/>")
        f.write("</testcase>\n")
    f.write("</testsuite>\n")
print(f'{n["pass"]} passed, {n["fail"]} failed, {n["skip"]} skipped')
