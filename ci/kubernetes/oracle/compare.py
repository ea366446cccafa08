"""Differences between what was recorded and what came, path by path."""

import difflib
import json
import re

from .paths import ABSENT


def diff(exp, act, path="$", exact=True, out=None):
    out = [] if out is None else out
    if exp == "<any>":
        if act in (None, ABSENT):
            out.append(f"{path}: expected some value, got {act!r}")
    elif isinstance(exp, dict) and isinstance(act, dict):
        for k in exp:
            p = f"{path}.{k}" if re.fullmatch(r"[\w\-]+", str(k)) else f"{path}['{k}']"
            if k not in act:
                out.append(f"{p}: missing, expected {short(exp[k])}")
            else:
                diff(exp[k], act[k], p, exact, out)
        if exact:
            for k in act:
                if k not in exp:
                    out.append(f"{path}.{k}: unexpected {short(act[k])}")
    elif isinstance(exp, list) and isinstance(act, list):
        for i, e in enumerate(exp):
            if i < len(act):
                diff(e, act[i], f"{path}[{i}]", exact, out)
            else:
                out.append(f"{path}[{i}]: missing, expected {short(e)}")
        for i in range(len(exp), len(act)):
            out.append(f"{path}[{i}]: unexpected {short(act[i])}")
    elif isinstance(exp, str) and isinstance(act, str) and "\n" in exp + act and exp != act:
        out.append(
            f"{path}: text differs\n"
            + "\n".join(
                "        " + l
                for l in difflib.unified_diff(exp.split("\n"), act.split("\n"), "expected", "actual", lineterm="", n=1)
            )
        )
    elif (
        type(exp) != type(act)
        and not (
            isinstance(exp, (int, float))
            and isinstance(act, (int, float))
            and not isinstance(exp, bool)
            and not isinstance(act, bool)
        )
        or exp != act
    ):
        out.append(f"{path}: expected {short(exp)}, got {short(act)}")
    return out


def short(x, n=1000):
    s = json.dumps(x, ensure_ascii=False, default=str)
    return s if len(s) <= n else s[:n] + "..."
