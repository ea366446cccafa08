"""What differs from run to run gets a name: uids, revisions, times, generated names, addresses."""

import re

SAFE = "bcdfghjklmnpqrstvwxz2456789"  # alphabet of generated suffixes and template hashes
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
JWT = re.compile(r"\beyJ[\w\-]+\.[\w\-]+\.[\w\-]+")
IPV4 = re.compile(r"(?<![\d.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
VERS = re.compile(r"\bv1\.\d{2,3}\.\d+[\w.+\-]*")
HASHPOD = re.compile(rf"-[{SAFE}]{{6,10}}-[{SAFE}]{{5}}\b")
KAPI = re.compile(rf"kube-api-access-[{SAFE}]{{5}}\b")
AGE = re.compile(r"(?<![\w.\-/:])(\d+y)?(\d+d)?(\d+h)?(\d+m)?(\d+(\.\d+)?m?s)?(?![\w.\-])")
DEFAULT_IGNORE = [
    "$.metadata.managedFields",
    "$.items[*].metadata.managedFields",
    "$.object.metadata.managedFields",
    "$.metadata.selfLink",
]
ARTEFACTS = (
    "openshift-service-ca.crt",
)  # residue of the reference build: list elements about these ConfigMaps are dropped


def drop_artefacts(o):
    if isinstance(o, dict):
        for v in o.values():
            drop_artefacts(v)
    elif isinstance(o, list):
        o[:] = [
            x
            for x in o
            if not (
                isinstance(x, dict)
                and any(isinstance(x.get(k), dict) and x[k].get("name") in ARTEFACTS for k in ("metadata", "configMap"))
            )
        ]
        for v in o:
            drop_artefacts(v)


class Norm:
    """One per case.  Tokens: <uid:Kind/name> <rv> <time> <gen> <pth:N> <ip> <version> <jwt> <continue> <nodePort>
    <containerID> <imageID> <age>; {{ns}} {{node}} {{image}} {{server}} ... for the replay variables."""

    def __init__(self, rev, literals):
        self.rev = sorted(
            ((v, k) for k, v in rev.items() if isinstance(v, str) and len(v) > 1), key=lambda x: -len(x[0])
        )
        self.lit = literals
        self.uids = {}
        self.pths = {}
        self.gens = {}
        self.nuid = {}
        self.rvs = set()

    def learn(self, o, kind=None):
        if isinstance(o, list):
            for x in o:
                self.learn(x, kind)
            return
        if not isinstance(o, dict):
            return
        k = o.get("kind") if isinstance(o.get("kind"), str) else kind
        m = o.get("metadata")
        if isinstance(m, dict):
            n, g = m.get("name"), m.get("generateName")
            lab = m.get("labels") or {}
            if isinstance(lab, dict):
                h = lab.get("pod-template-hash") or lab.get("controller-revision-hash")
                if isinstance(h, str) and re.fullmatch(rf"(.*-)?[{SAFE}]{{5,10}}", h):
                    h = h.rsplit("-", 1)[-1]
                    if h not in self.pths:
                        self.pths[h] = f"<pth:{len(self.pths) + 1}>"
            if (
                isinstance(n, str)
                and isinstance(g, str)
                and n.startswith(g)
                and len(n) == len(g) + 5
                and n not in self.gens
            ):
                self.gens[n] = g + "<gen>"
            u = m.get("uid")
            if isinstance(u, str) and UUID.fullmatch(u) and u not in self.uids:
                self.name_uid(u, k, n)
            rv = m.get("resourceVersion")
            if isinstance(rv, str) and len(rv) > 2:
                self.rvs.add(rv)
            for r in m.get("ownerReferences") or []:
                if (
                    isinstance(r, dict)
                    and isinstance(r.get("uid"), str)
                    and UUID.fullmatch(r["uid"])
                    and r["uid"] not in self.uids
                    and not str(r["uid"]).startswith("00000000")
                ):
                    self.name_uid(r["uid"], r.get("kind"), r.get("name"))
        lk = k[:-4] if isinstance(k, str) and k.endswith("List") and isinstance(o.get("items"), list) else None
        for key, v in o.items():
            if key == "managedFields":
                continue
            self.learn(v, lk if key == "items" else (None if key != "object" else k))

    def name_uid(self, u, kind, name):
        b = f"{kind or '?'}/{self.string(name or '?')}"
        if "<gen>" not in b and "<pth" not in b:
            c = self.nuid[b] = self.nuid.get(b, 0) + 1
            if c > 1:
                b += f"#{c}"
        self.uids[u] = f"<uid:{b}>"

    def string(self, s):
        for v, k in self.rev:
            if v in s:
                s = s.replace(v, "{{%s}}" % k)
        for n, t in self.gens.items():
            if n in s:
                s = s.replace(n, t)
        for h, t in self.pths.items():
            if h in s:
                s = re.sub(rf"(?<![A-Za-z0-9]){h}(?![A-Za-z0-9])", t, s)
        if JWT.search(s):
            s = JWT.sub("<jwt>", s)
        s = UUID.sub(lambda m: m.group(0) if m.group(0) in self.lit else self.uids.get(m.group(0), "<uid>"), s)
        s = TIME.sub(lambda m: m.group(0) if m.group(0) in self.lit else "<time>", s)
        s = IPV4.sub(
            lambda m: m.group(1) if m.group(1) in self.lit or m.group(1) in ("127.0.0.1", "0.0.0.0") else "<ip>", s
        )
        s = VERS.sub(lambda m: m.group(0) if m.group(0) in self.lit else "<version>", s)
        s = KAPI.sub("kube-api-access-<gen>", s)
        if "resourceVersion" in s:
            s = re.sub(r"(resourceVersion\W{1,12}?)\d{2,}", r"\1<rv>", s)
        if "in record (" in s:
            s = re.sub(r"in record \(\d+\)", "in record (<rv>)", s)
        return s

    def body(self, o, key=None):
        if isinstance(o, dict):
            return {self.string(k): self.body(v, k) for k, v in o.items()}
        if isinstance(o, list):
            return [self.body(v, key) for v in o]
        if isinstance(o, str):
            if key == "resourceVersion" and o not in ("", "0", "1") and "rv=" + o not in self.lit:
                return "<rv>"
            if key == "continue" and o:
                return "<continue>"
            if key in ("containerID", "imageID") and o:
                return f"<{key}>"
            return self.string(o)
        if (
            isinstance(o, int)
            and not isinstance(o, bool)
            and key in ("nodePort", "healthCheckNodePort")
            and o
            and str(o) not in self.lit
        ):
            return "<nodePort>"
        return o

    def text(self, s, table=False):
        s = self.string(s)
        s = HASHPOD.sub("-<pth>-<gen>", s)
        s = re.sub(r"<pth:\d+>-(<gen>|[%s]{5}\b)" % SAFE, "<pth>-<gen>", s)
        for rv in self.rvs:
            s = re.sub(rf"(?<![\w.]){rv}(?![\w.])", "<rv>", s)
        s = re.sub(r'(resourceVersion: "?)\d+', r"\1<rv>", s)
        s = re.sub(r"((?:[A-Z][a-z]{2}, )\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4})", "<time>", s)
        s = re.sub(r"/tmp/[\w\-]+\d{4,}", "<tmp>", s)
        if table:
            s = AGE.sub(lambda m: "<age>" if m.group(0) else "", s)
            s = "\n".join(re.sub(r" {2,}", "  ", l).rstrip() for l in s.split("\n"))
        return s
