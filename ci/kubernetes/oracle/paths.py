"""Paths into JSON values: `$.a.b['c.d'][0][-1][*][?(@.type=="X")]`, and `keys len sorted set types string` on top."""

import json
import re

_tok = re.compile(
    r"""\.?([A-Za-z_$][\w\-$]*)|\[\s*'([^']*)'\s*\]|\[\s*"([^"]*)"\s*\]|\[(-?\d+)\]|\[(\*)\]|\[\?\(@((?:\.[\w\-]+|\['[^']*'\])+)\s*==\s*(?:"([^"]*)"|'([^']*)'|([\w.\-]+))\)\]"""
)


def parse_path(p):
    p = p.strip()
    if p.startswith("$"):
        p = p[1:]
    i, out = 0, []
    while i < len(p):
        m = _tok.match(p, i)
        if not m:
            raise ValueError(f"bad path {p!r} at {i}")
        n, q1, q2, ix, star, fk, f1, f2, f3 = m.groups()
        if n is not None:
            out.append(("k", n))
        elif q1 is not None or q2 is not None:
            out.append(("k", q1 if q1 is not None else q2))
        elif ix is not None:
            out.append(("i", int(ix)))
        elif star:
            out.append(("*", None))
        else:
            v = f1 if f1 is not None else f2
            if v is None:
                v = {"true": True, "false": False}.get(f3, int(f3) if re.fullmatch(r"-?\d+", f3) else f3)
            out.append(("?", (parse_path(fk), v)))
        i = m.end()
    return out


def walk(obj, toks):
    """all matches as (parent, key, value); parent None for the root"""
    cur = [(None, None, obj)]
    for t, a in toks:
        nxt = []
        for _, _, v in cur:
            if t == "k" and isinstance(v, dict) and a in v:
                nxt.append((v, a, v[a]))
            elif t == "i" and isinstance(v, list) and -len(v) <= a < len(v):
                nxt.append((v, a, v[a]))
            elif t == "*" and isinstance(v, list):
                nxt += [(v, i, x) for i, x in enumerate(v)]
            elif t == "*" and isinstance(v, dict):
                nxt += [(v, k, x) for k, x in v.items()]
            elif t == "?" and isinstance(v, list):
                for i, x in enumerate(v):
                    w = walk(x, a[0])
                    if w and w[0][2] == a[1]:
                        nxt.append((v, i, x))
        cur = nxt
    return cur


def is_multi(toks):
    return any(t in "*?" for t, _ in toks)


ABSENT = "<absent>"


def value_at(obj, path):
    m = re.fullmatch(r"(keys|len|sorted|types|string|set)\((.*)\)", path.strip())
    if m:
        v = value_at(obj, m.group(2))
        f = m.group(1)
        if v == ABSENT:
            return v
        if v is None:
            v = []
        if f == "keys":
            return sorted(v)
        if f == "len":
            return len(v)
        if f == "sorted":
            return sorted(v, key=lambda x: json.dumps(x, sort_keys=True))
        if f == "set":
            return [json.loads(x) for x in sorted({json.dumps(x, sort_keys=True) for x in v})]
        if f == "string":
            return v if isinstance(v, str) else json.dumps(v, sort_keys=True)
        if f == "types":
            return {k: type(x).__name__ for k, x in v.items()}
    toks = parse_path(path)
    w = walk(obj, toks)
    if any(t == "*" for t, _ in toks):
        return [x[2] for x in w]
    return w[0][2] if w else ABSENT


def remove_path(obj, path):
    for par, key, _ in reversed(walk(obj, parse_path(path))):
        if par is not None:
            del par[key]


def mask_path(obj, path):
    for par, key, _ in walk(obj, parse_path(path)):
        if par is not None:
            par[key] = "<any>"
