"""Replays the recorded cases of fixtures/kubernetes against a cluster and compares with what a real Kubernetes answered.

  replay.py --kubeconfig FILE [--kubectl PATH] [--only GLOB,..] [--without node,..] [--differences FILE] CASES.yaml..

Prints one line a case that does not pass, then the counts. A case that fails is replayed up to three times more, alone:
only a failure that stays counts, because some recorded facts hold for a cluster whose controllers had not acted yet.
With `--differences`, the failures that the file lists by id are agreed on; a listed case that passes is a failure too (unless it is a matter of `timing`), so
that the list can't grow stale. Exit status 1 when anything failed. Needs Python 3.9, PyYAML and requests."""

import argparse
import concurrent.futures
import fnmatch
import json
import shutil
import sys
import threading
import time
import warnings

import yaml

from oracle.client import Fail, Target
from oracle.runner import Runner
from oracle.webhooks import Webhooks


# How often a case that failed among others is replayed alone.
AGAIN = 3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--kubeconfig", help="default: as kubectl finds it")
    parser.add_argument("--context")
    parser.add_argument("--server", help="address instead of a kubeconfig, with --token, --ca or --insecure")
    parser.add_argument("--token")
    parser.add_argument("--ca")
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--kubectl", default="kubectl")
    parser.add_argument("--only", default="", help="cases by id or area, as globs")
    parser.add_argument("--tags", default="")
    parser.add_argument("--skip-tags", default="")
    parser.add_argument("--without", default="", help="what the server lacks: node,controllers,webhook,rbac,kubectl")
    parser.add_argument("--differences", help="YAML list of {id, reason}: failures that are agreed on")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--lenient", action="store_true", help="more fields than recorded are no failure")
    parser.add_argument("--keep", action="store_true", help="leave the namespaces")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--report", help="where to write the results as JSON")
    parser.add_argument("--webhook-host", default="127.0.0.1", help="where the API server reaches this process")
    parser.add_argument("--webhook-bind", default="127.0.0.1")
    parser.add_argument("--node", default="rig-node")
    parser.add_argument("--image", default="rig.local/web:1")
    given = parser.parse_args()
    given.without = set(filter(None, given.without.split(",")))
    return given


def selected(given):
    """(area, case) of every case that was asked for."""
    only = [glob for glob in given.only.split(",") if glob]
    tags = set(filter(None, given.tags.split(",")))
    for path in given.files:
        with open(path) as file:
            area = yaml.safe_load(file)
        for case in area["cases"]:
            names = (case["id"], area["area"])
            if only and not any(fnmatch.fnmatch(name, glob) for glob in only for name in names):
                continue
            if tags and not tags & set(case.get("tags") or []):
                continue
            yield area, case


def replay(runner, given, area, case):
    """The result of one case: PASS, FAIL or SKIP, and why."""
    lacking = set(case.get("needs") or []) & given.without
    if lacking:
        return "SKIP", f"needs {','.join(sorted(lacking))}"
    if set(case.get("tags") or []) & set(filter(None, given.skip_tags.split(","))):
        return "SKIP", "tag"
    try:
        runner.run(case, area)
        return "PASS", ""
    except Fail as failure:
        return "FAIL", str(failure)
    except Exception as failure:  # whatever goes wrong in one case must not end the others
        return "FAIL", f"{type(failure).__name__}: {failure}"


def main():
    warnings.filterwarnings("ignore")
    given = arguments()
    agreed, timing = {}, set()
    if given.differences:
        with open(given.differences) as file:
            entries = yaml.safe_load(file)
        agreed = {entry["id"]: entry["reason"] for entry in entries}
        timing = {entry["id"] for entry in entries if entry.get("timing")}
    target = Target(given)
    hooks = None if "webhook" in given.without else Webhooks(given.webhook_host, given.webhook_bind)
    runner = Runner(given, target, hooks)
    results, lock = {}, threading.Lock()

    def one(area, case):
        began = time.time()
        result, why = replay(runner, given, area, case)
        with lock:
            results[case["id"]] = (result, why, round(time.time() - began, 2))

    cases = list(selected(given))
    # Slow ones first, so that they do not stand alone at the end.
    cases.sort(key=lambda pair: "slow" not in (pair[1].get("tags") or []))
    with concurrent.futures.ThreadPoolExecutor(max(1, given.jobs)) as pool:
        list(pool.map(lambda pair: one(*pair), (pair for pair in cases if not pair[1].get("serial"))))
    for pair in cases:
        name = pair[1]["id"]
        if name not in results:
            one(*pair)
        first = results[name]
        for _ in range(AGAIN):
            if results[name][0] != "FAIL" or name in agreed:
                break
            one(*pair)
        if first[0] == "FAIL" and results[name][0] == "PASS":
            print(f"again {name}: passes alone; before: {first[1].strip()}")

    known, failures = 0, 0
    for _, case in cases:
        result, why, seconds = results[case["id"]]
        if result == "FAIL" and case["id"] in agreed:
            known += 1
            print(f"known {case['id']} ({seconds} s): {agreed[case['id']].strip()}")
        elif result == "PASS" and case["id"] in agreed and case["id"] not in timing:
            failures += 1
            print(f"FAIL  {case['id']} ({seconds} s): passes, but is listed as a difference; remove it from the list")
        elif result == "FAIL" or given.verbose:
            failures += result == "FAIL"
            print(f"{result:5} {case['id']} ({seconds} s){' ' + why if why else ''}")
    count = lambda wanted: sum(1 for result, _, _ in results.values() if result == wanted)
    print(f"{count('PASS')} passed, {failures} failed, {known} agreed differences, {count('SKIP')} skipped")
    if given.report:
        with open(given.report, "w") as file:
            rows = [{"id": id, "result": r, "message": why, "seconds": s} for id, (r, why, s) in results.items()]
            json.dump(rows, file, indent=1)
    shutil.rmtree(target.tmp, ignore_errors=True)
    sys.exit(1 if failures or not results else 0)


if __name__ == "__main__":
    main()
