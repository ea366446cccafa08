"""Runs one case: its steps, what they save, and the comparison with what is expected."""

import base64
import copy
import datetime
import json
import os
import random
import re
import subprocess
import threading
import time

import requests
import yaml

from .client import Fail, Watch
from .compare import diff
from .normalise import DEFAULT_IGNORE, IPV4, SAFE, TIME, UUID, VERS, Norm, drop_artefacts
from .paths import ABSENT, mask_path, parse_path, remove_path, value_at, walk

RUN = "".join(random.choice(SAFE) for _ in range(4))


def subst(o, v):
    if isinstance(o, str):
        m = re.fullmatch(r"\{\{([\w.\-]+)\}\}", o)
        if m and m.group(1) in v:
            return v[m.group(1)]

        def f(m):
            n = m.group(1)
            if n.startswith("rep:"):
                return n.split(":")[1] * int(n.split(":")[2])
            if n.startswith("b64:"):
                return base64.b64encode(str(v[n[4:]]).encode()).decode()
            return str(v[n]) if n in v else m.group(0)

        return re.sub(r"\{\{([\w.:\-]+)\}\}", f, o)
    if isinstance(o, dict):
        return {subst(k, v): subst(x, v) for k, x in o.items()}
    if isinstance(o, list):
        return [subst(x, v) for x in o]
    return o


class Runner:
    def __init__(self, a, target, hooks):
        self.a = a
        self.t = target
        self.hooks = hooks
        self.n = 0
        self.lock = threading.Lock()
        self.globals = {"node": a.node, "image": a.image}

    # ---- one case
    def run(self, case, area):
        with self.lock:
            self.n += 1
            num = self.n
        ns = f"o{RUN}{num:04d}"
        v = {
            **self.globals,
            "ns": ns,
            "server": self.t.server,
            "webhook": f"{self.hooks.base}/{ns}" if self.hooks else "https://127.0.0.1:1",
            "webhook_dead": self.hooks.dead if self.hooks else "https://127.0.0.1:1",
            "webhook_ca": self.hooks.ca if self.hooks else "",
        }
        src = json.dumps([{k: x for k, x in st.items() if k != "expect"} for st in case["steps"]])
        lit = (
            {m.group(0) for rx in (TIME, UUID, IPV4, VERS) for m in rx.finditer(src)}
            | set(re.findall(r"(?<![\w.])\d{2,6}(?![\w.])", src))
            | {"rv=" + x for x in re.findall(r'"resourceVersion": "(\d+)"', src)}
        )
        rev = {k: x for k, x in v.items() if k != "webhook_ca" or x}
        norm = Norm(rev, lit)
        ctx = dict(v=v, norm=norm, watches={}, procs={}, ns=ns, kc=None, area=area, case=case)
        if self.hooks:
            for n, b in (case.get("webhooks") or {}).items():
                self.hooks.beh[f"{ns}/{n}"] = subst(b, v)
        ns_on = case.get("namespace", True) is not False
        try:
            if ns_on:
                lab = case.get("namespace") if isinstance(case.get("namespace"), dict) else {}
                r = self.t.send(
                    {
                        "method": "POST",
                        "path": "/api/v1/namespaces",
                        "body": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns, **subst(lab, v)}},
                    }
                )
                if r.status_code != 201:
                    raise Fail(f"cannot create namespace: {r.status_code} {r.text[:300]}")
                if "controllers" not in self.a.without:
                    for what in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
                        for _ in range(200):
                            if self.t.send({"path": f"/api/v1/namespaces/{ns}/{what}"}).status_code == 200:
                                break
                            time.sleep(0.03)
            for i, st in enumerate(case["steps"]):
                try:
                    self.step(ctx, st)
                except Fail as e:
                    raise Fail(f"step {i + 1} ({describe(st)}): {e}")
                except (requests.RequestException, KeyError, ValueError, TypeError, AttributeError) as e:
                    raise Fail(f"step {i + 1} ({describe(st)}): {type(e).__name__}: {e}")
        finally:
            for w in ctx["watches"].values():
                w.stop()
            for p in ctx["procs"].values():
                if p.poll() is None:
                    p.terminate()
            if not self.a.keep:
                for p in reversed(case.get("cleanup") or []):
                    p = subst(p, v)
                    try:
                        if isinstance(p, str):
                            self.t.send(
                                {
                                    "method": "DELETE",
                                    "path": p,
                                    "body": {"propagationPolicy": "Background", "gracePeriodSeconds": 0},
                                }
                            )
                        else:
                            self.t.send(p)
                    except requests.RequestException:
                        pass
                if ns_on:
                    try:
                        self.t.send(
                            {
                                "method": "DELETE",
                                "path": f"/api/v1/namespaces/{ns}",
                                "body": {"propagationPolicy": "Background"},
                            }
                        )
                    except requests.RequestException:
                        pass
            if self.hooks:
                for n in case.get("webhooks") or {}:
                    self.hooks.beh.pop(f"{ns}/{n}", None)

    def check(self, ctx, st, actual):
        """actual: dict with any of status, headers, body/text, events, exit, stdout, stderr, value"""
        e = st.get("expect")
        if e is None:
            return
        exact = st.get("match", "exact") == "exact" and not self.a.lenient
        out = []
        for k, x in e.items():
            if k == "values":
                for p, w in x.items():
                    diff(w, value_at(actual.get("body"), p), p, exact, out)
            elif k == "headers":
                for h, w in x.items():
                    diff(w, (actual.get("headers") or {}).get(h, ABSENT), f"header {h}", exact, out)
            else:
                diff(x, actual.get(k, ABSENT), "$" if k == "body" else k, exact, out)
        if "headers" not in e and actual.get("headers") and exact:
            out.append(f"unexpected headers {actual['headers']}")
        if out:
            if (
                "status" in e
                and actual.get("status") != e["status"]
                and isinstance(actual.get("body"), dict)
                and actual["body"].get("message")
            ):
                out.append(f"actual message: {actual['body']['message']}")
            raise Fail("\n      " + "\n      ".join(out))

    def prep(self, ctx, st, raw):
        norm = ctx["norm"]
        norm.learn(raw)
        b = copy.deepcopy(raw)
        drop_artefacts(b)
        ig = [] if st.get("managedFields") else list(DEFAULT_IGNORE)
        for p in ig + (ctx["area"].get("ignore") or []) + (ctx["case"].get("ignore") or []) + (st.get("ignore") or []):
            remove_path(b, p)
        b = norm.body(b)
        sort_causes(b)
        for p in st.get("mask") or []:
            mask_path(b, p)
        for p in st.get("sort") or []:
            for _, _, l in walk(b, parse_path(p)):
                if isinstance(l, list):
                    l.sort(key=lambda x: json.dumps(x, sort_keys=True))
        return b

    def headers(self, ctx, st, r):
        h = {}
        for n in ["Warning"] + (st.get("headers") or []):
            if n == "Warning":
                w = [x for k, x in r.raw.headers.items() if k.lower() == "warning"] if r.raw is not None else []
                if w:
                    h["Warning"] = [ctx["norm"].string(x) for x in w]
            elif n in r.headers:
                h[n] = ctx["norm"].string(r.headers[n])
        ct = r.headers.get("Content-Type", "")
        if ct and ct != "application/json":
            h["Content-Type"] = ct
        return h

    def cond(self, body, c):
        x = value_at(body, c["path"]) if c.get("path") else None
        if "equals" in c:
            return x == c["equals"]
        if "not" in c:
            return x != c["not"]
        if "matches" in c:
            return x != ABSENT and re.search(c["matches"], x if isinstance(x, str) else json.dumps(x)) is not None
        if "exists" in c:
            return (x != ABSENT) == c["exists"]
        if "min" in c:
            return isinstance(x, (int, float)) and x >= c["min"]
        return True

    def do_req(self, ctx, st):
        req = subst(st["request"], ctx["v"])
        n = st.get("repeat") or 1
        retry = subst(st.get("retry"), ctx["v"])
        end = time.time() + ((retry or {}).get("timeout") or 10)
        for i in range(n):
            rq = subst(req, {"i": i}) if n > 1 else req
            while True:
                r = self.t.send(rq)
                try:
                    raw = r.json() if "json" in r.headers.get("Content-Type", "") or r.text[:1] == "{" else None
                except ValueError:
                    raw = None
                if not retry:
                    break
                if time.time() > end:
                    raise Fail(f"retry condition not met: {r.status_code} {r.text[:600]}")
                if retry.get("text"):
                    if re.search(retry["text"], r.text):
                        break
                elif (
                    not retry.get("status_not")
                    and ("status" not in retry or r.status_code == retry["status"])
                    and all(self.cond(raw, c) for c in retry.get("all") or [])
                ):
                    break
                if retry.get("status_not") and r.status_code != retry["status_not"]:
                    break
                time.sleep(0.1)
            if n > 1 and r.status_code >= 300 and i < n - 1:
                raise Fail(f"repeat {i}: {r.status_code} {r.text[:200]}")
        for var, p in (st.get("save") or {}).items():
            x = value_at(raw, p)
            if x == ABSENT:
                raise Fail(f"save {var}: nothing at {p}: {r.status_code} {r.text[:300]}")
            ctx["v"][var] = x
        act = {"status": r.status_code, "headers": self.headers(ctx, st, r)}
        if st.get("ignore_body") or st.get("keep") == ["-"]:
            pass
        elif raw is not None:
            act["body"] = self.prep(ctx, st, raw)
        elif r.text:
            act["text"] = ctx["norm"].text(r.text, st.get("table"))
        self.check(ctx, st, act)

    def do_wait(self, ctx, st):
        w = subst(st["wait"], ctx["v"])
        end = time.time() + w.get("timeout", 30)
        raw = None
        while True:
            r = self.t.send({"path": w["path"], "query": w.get("query")})
            try:
                raw = r.json()
            except ValueError:
                raw = None
            ok = r.status_code == w.get("status", 200) and all(self.cond(raw, c) for c in w.get("all") or [])
            if ok:
                break
            if time.time() > end:
                raise Fail(
                    f"wait timed out after {w.get('timeout', 30)} s: status {r.status_code} body {r.text[:1500]}"
                )
            time.sleep(w.get("interval", 0.1))
        for var, p in (st.get("save") or {}).items():
            ctx["v"][var] = value_at(raw, p)
        self.check(ctx, st, {"body": self.prep(ctx, st, raw)})

    def events(self, ctx, st, w, spec):
        ev = w.collect(spec.get("count"), spec.get("timeout", 10), spec.get("quiet", 0.25))
        if w.status != 200:
            try:
                raw = json.loads(w.err)
            except Exception:
                raise Fail(f"watch failed: {w.status} {w.err}")
            self.check(ctx, st, {"status": w.status, "body": self.prep(ctx, st, raw)})
            return
        for var, p in (st.get("save") or {}).items():
            ctx["v"][var] = value_at(ev, p)
        out = []
        for e in ev:
            b = self.prep(ctx, st, e)
            keep = spec.get("keep")
            o = b.get("object")
            if keep:
                o = {p: value_at(o, p) for p in keep if value_at(o, p) != ABSENT}
            out.append({"type": b.get("type"), "object": o} if keep != [] else {"type": b.get("type")})
        if spec.get("collapse"):
            seen = []
            for e in out:
                if not seen or seen[-1] != e:
                    seen.append(e)
            out = seen
        if spec.get("sort"):
            out.sort(key=lambda x: json.dumps(x, sort_keys=True))
        self.check(ctx, st, {"status": w.status, "events": out})

    def kubeconfig(self, ctx):
        if not ctx["kc"]:
            f = ctx["kc"] = os.path.join(self.t.tmp, ctx["ns"] + ".kubeconfig")
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "o",
                    "clusters": [{"name": "o", "cluster": self.t.kc_cluster}],
                    "users": [{"name": "o", "user": self.t.kc_user}],
                    "contexts": [{"name": "o", "context": {"cluster": "o", "user": "o", "namespace": ctx["ns"]}}],
                },
                open(f, "w"),
            )
        return {
            **{k: x for k, x in os.environ.items() if k not in ("KUBECTL_EXTERNAL_DIFF",)},
            "KUBECONFIG": ctx["kc"],
            "HOME": self.t.tmp,
            "KUBECACHEDIR": os.path.join(self.t.tmp, "cache-" + ctx["ns"]),
            "TZ": "UTC",
        }

    def do_kubectl(self, ctx, st):
        k = subst(st["kubectl"], ctx["v"])
        stdin = k.get("stdin")
        if stdin is not None and not isinstance(stdin, str):
            stdin = "\n---\n".join(json.dumps(x) for x in (stdin if isinstance(stdin, list) else [stdin]))
        env = self.kubeconfig(ctx)
        if "bg" in k:
            p = subprocess.Popen(
                [self.a.kubectl] + k["argv"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,
                text=True,
            )
            ctx["procs"][k["bg"]] = p
            if k.get("ready"):
                end = time.time() + k.get("timeout", 20)
                buf = ""
                while time.time() < end:
                    l = p.stdout.readline()
                    if not l:
                        break
                    buf += l
                    m = re.search(k["ready"], buf)
                    if m:
                        if m.groups():
                            ctx["v"][k.get("var", "port")] = m.group(1)
                        return
                raise Fail(f"{k['argv']}: not ready: {buf}")
            return
        retry = k.get("retry")
        end = time.time() + ((retry or {}).get("timeout") or 10)
        while True:
            try:
                p = subprocess.run(
                    [self.a.kubectl] + k["argv"],
                    input=stdin,
                    capture_output=True,
                    text=True,
                    env=env,
                    timeout=k.get("timeout", 90),
                    stdin=subprocess.DEVNULL if stdin is None else None,
                )
            except subprocess.TimeoutExpired:
                raise Fail(f"kubectl {k['argv']} timed out")
            if not retry:
                break
            if time.time() > end:
                raise Fail(f"retry condition not met: {p.returncode} {p.stdout[-500:]} {p.stderr[-500:]}")
            if p.returncode == retry.get("exit", 0) and re.search(retry.get("matches", ""), p.stdout + p.stderr):
                break
            time.sleep(0.2)
        fmt = k.get("format", "text")
        act = {"exit": p.returncode}
        n = ctx["norm"]
        err = n.text(p.stderr, fmt == "table")
        err = re.sub(r"^(Warning: version difference|[EWI]\d{4} ).*\n?", "", err, flags=re.M)
        if k.get("stderr") != "ignore":
            act["stderr"] = err
        so = p.stdout
        if k.get("stdout") == "ignore":
            pass
        elif fmt in ("json", "yaml") and p.returncode == 0:
            raw = yaml.safe_load(so) if fmt == "yaml" else json.loads(so)
            act["body"] = self.prep(ctx, st, fix_times(raw))
        elif fmt == "outline":
            act["stdout"] = "\n".join(
                m.group(0) for m in (re.match(r"^ {0,4}[A-Z][A-Za-z \-]*:", l) for l in n.text(so).split("\n")) if m
            )
        elif fmt == "lines-sorted":
            act["stdout"] = "\n".join(sorted(n.text(so, True).rstrip("\n").split("\n")))
        else:
            act["stdout"] = n.text(so, fmt == "table")
        for rx, to in st.get("replace") or []:
            for f in ("stdout", "stderr"):
                if act.get(f):
                    act[f] = re.sub(rx, to, act[f], flags=re.M)
        for var, rx in (k.get("save") or {}).items():
            m = re.search(rx, so)
            if not m:
                raise Fail(f"save {var}: {rx} not in {so!r}")
            ctx["v"][var] = m.group(1)
        self.check(ctx, st, act)

    def step(self, ctx, st):
        if "request" in st:
            self.do_req(ctx, st)
        elif "wait" in st:
            self.do_wait(ctx, st)
        elif "watch" in st:
            s = subst(st["watch"], ctx["v"])
            w = Watch(
                self.t,
                {"path": s["path"], "query": {"watch": 1, **(s.get("query") or {})}, "headers": s.get("headers")},
            )
            try:
                self.events(ctx, st, w, s)
            finally:
                w.stop()
        elif "watch_start" in st:
            s = subst(st["watch_start"], ctx["v"])
            ctx["watches"][s["id"]] = Watch(
                self.t,
                {"path": s["path"], "query": {"watch": 1, **(s.get("query") or {})}, "headers": s.get("headers")},
            )
        elif "watch_expect" in st:
            s = subst(st["watch_expect"], ctx["v"])
            self.events(ctx, st, ctx["watches"][s["id"]], s)
        elif "kubectl" in st:
            self.do_kubectl(ctx, st)
        elif "kubectl_kill" in st:
            p = ctx["procs"].pop(st["kubectl_kill"])
            p.terminate()
            p.wait(10)
        elif "http" in st:
            s = subst(st["http"], ctx["v"])
            end = time.time() + s.get("timeout", 10)
            while True:
                try:
                    r = requests.get(s["url"], timeout=5)
                    break
                except requests.RequestException:
                    if time.time() > end:
                        raise
                    time.sleep(0.2)
            self.check(ctx, st, {"status": r.status_code, "text": ctx["norm"].text(r.text)})
        elif "foreach" in st:
            s = subst(st["foreach"], ctx["v"])
            items = sorted(
                self.t.send({"path": s["path"], "query": s.get("query")}).json().get("items") or [],
                key=lambda o: o["metadata"]["name"],
            )
            if s.get("where"):
                items = [o for o in items if all(self.cond(o, c) for c in s["where"])]
            for n, o in enumerate(items[: s.get("limit") or None]):
                r = self.t.send(subst(s["request"], {**ctx["v"], "item": o["metadata"]["name"], "n": str(n + 1)}))
                if r.status_code >= 300:
                    raise Fail(f"{o['metadata']['name']}: {r.status_code} {r.text[:300]}")
        elif "sleep" in st:
            time.sleep(st["sleep"])
        elif "set" in st:
            ctx["v"].update(subst(st["set"], ctx["v"]))
        elif "check" in st:
            for c in st["check"]:
                op, (x, y) = next(iter(c.items()))
                x, y = subst(x, ctx["v"]), subst(y, ctx["v"])
                num = lambda z: int(z) if isinstance(z, (int, str)) and re.fullmatch(r"-?\d+", str(z)) else z
                ok = {
                    "eq": lambda: x == y,
                    "ne": lambda: x != y,
                    "lt": lambda: num(x) < num(y),
                    "le": lambda: num(x) <= num(y),
                }[op]()
                if not ok:
                    raise Fail(f"check {c}: {x!r} {y!r}")
        elif "webhook_set" in st:
            for n, b in st["webhook_set"].items():
                self.hooks.beh[f"{ctx['ns']}/{n}"] = subst(b, ctx["v"])
        elif "webhook_calls" in st:
            s = st["webhook_calls"]
            k = f"{ctx['ns']}/{s['name']}"
            if s.get("reset"):
                self.hooks.calls[k] = []
                return
            calls = [c.get("request") for c in self.hooks.calls.get(k, [])]
            if s.get("last"):
                calls = calls[-s["last"] :]
            self.check(ctx, st, {"body": self.prep(ctx, st, {"calls": copy.deepcopy(calls)})})
        else:
            raise Fail(f"unknown step {list(st)}")


def sort_causes(b):
    """the order of the causes of a Status is unspecified (map iteration in the reference implementation)"""
    if not (
        isinstance(b, dict)
        and b.get("kind") == "Status"
        and isinstance(b.get("details"), dict)
        and len(b["details"].get("causes") or []) > 1
    ):
        return
    cs = b["details"]["causes"]
    parts = []
    for c in cs:
        t = f"{c.get('field')}: {c.get('message')}"
        if t not in parts:
            parts.append(t)
    m = b.get("message") or ""
    i = m.find("[")
    if (
        i > 0
        and m.endswith("]")
        and sum(map(len, parts)) + 2 * (len(parts) - 1) == len(m) - i - 2
        and all(p in m for p in parts)
    ):
        b["message"] = m[: i + 1] + ", ".join(sorted(parts)) + "]"
    cs.sort(key=lambda c: (str(c.get("field")), str(c.get("message"))))


def fix_times(o):
    if isinstance(o, dict):
        return {k: fix_times(v) for k, v in o.items()}
    if isinstance(o, list):
        return [fix_times(v) for v in o]
    if isinstance(o, (datetime.datetime, datetime.date)):
        return "<time>"
    return o


def describe(st):
    k = next(
        k
        for k in st
        if k
        in (
            "request",
            "wait",
            "watch",
            "watch_start",
            "watch_expect",
            "kubectl",
            "kubectl_kill",
            "http",
            "foreach",
            "sleep",
            "set",
            "check",
            "webhook_set",
            "webhook_calls",
        )
    )
    s = st[k]
    if k == "request":
        return f"{s.get('method', 'GET')} {s['path']}"
    if k == "kubectl":
        return "kubectl " + " ".join(s["argv"])
    return f"{k} {s.get('path') or s.get('id') or ''}" if isinstance(s, dict) else f"{k} {s}"
