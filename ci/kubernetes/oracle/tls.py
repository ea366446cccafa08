"""A self-signed P-256 server certificate without any library, for the webhooks."""

import base64
import hashlib
import re
import secrets
import socket
import time


class EC:
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    G = (
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    )

    @classmethod
    def add(c, P, Q):
        if P is None:
            return Q
        if Q is None:
            return P
        if P[0] == Q[0]:
            if (P[1] + Q[1]) % c.p == 0:
                return None
            l = (3 * P[0] * P[0] - 3) * pow(2 * P[1], -1, c.p) % c.p
        else:
            l = (Q[1] - P[1]) * pow(Q[0] - P[0], -1, c.p) % c.p
        x = (l * l - P[0] - Q[0]) % c.p
        return x, (l * (P[0] - x) - P[1]) % c.p

    @classmethod
    def mul(c, k, P):
        R = None
        while k:
            if k & 1:
                R = c.add(R, P)
            P = c.add(P, P)
            k >>= 1
        return R


def der(t, *c):
    b = b"".join(c)
    n = len(b)
    return (
        bytes([t])
        + (
            bytes([n])
            if n < 128
            else bytes([0x80 | (n.bit_length() + 7) // 8]) + n.to_bytes((n.bit_length() + 7) // 8, "big")
        )
        + b
    )


def dint(i):
    return der(2, i.to_bytes(i.bit_length() // 8 + 1, "big"))


def doid(s):
    a = [int(x) for x in s.split(".")]
    o = bytes([a[0] * 40 + a[1]])
    for v in a[2:]:
        q = [v & 127]
        v >>= 7
        while v:
            q.insert(0, v & 127 | 128)
            v >>= 7
        o += bytes(q)
    return der(6, o)


def make_tls(hosts):
    """self-signed CA:TRUE server certificate -> (cert pem, key pem)"""
    d = secrets.randbelow(EC.n - 1) + 1
    Q = EC.mul(d, EC.G)
    pub = b"\x04" + Q[0].to_bytes(32, "big") + Q[1].to_bytes(32, "big")
    alg = der(0x30, doid("1.2.840.10045.4.3.2"))
    spki = der(0x30, der(0x30, doid("1.2.840.10045.2.1"), doid("1.2.840.10045.3.1.7")), der(3, b"\0" + pub))
    name = der(0x30, der(0x31, der(0x30, doid("2.5.4.3"), der(12, b"k8s-oracle-webhook"))))
    tm = lambda t: der(0x18, time.strftime("%Y%m%d%H%M%SZ", time.gmtime(t)).encode())
    san = b"".join(
        der(0x87, socket.inet_aton(h)) if re.fullmatch(r"[\d.]+", h) else der(0x82, h.encode()) for h in hosts
    )
    ext = lambda oid, v, crit=False: der(0x30, doid(oid), *([der(1, b"\xff")] if crit else []), der(4, v))
    exts = der(0xA3, der(0x30, ext("2.5.29.17", der(0x30, san)), ext("2.5.29.19", der(0x30, der(1, b"\xff")), True)))
    now = time.time()
    tbs = der(
        0x30,
        der(0xA0, dint(2)),
        dint(secrets.randbits(64)),
        alg,
        name,
        der(0x30, tm(now - 86400), tm(now + 30 * 86400)),
        name,
        spki,
        exts,
    )
    z = int.from_bytes(hashlib.sha256(tbs).digest(), "big")
    while True:
        k = secrets.randbelow(EC.n - 1) + 1
        r = EC.mul(k, EC.G)[0] % EC.n
        s = pow(k, -1, EC.n) * (z + r * d) % EC.n
        if r and s:
            break
    cert = der(0x30, tbs, alg, der(3, b"\0" + der(0x30, dint(r), dint(s))))
    key = der(
        0x30,
        dint(1),
        der(4, d.to_bytes(32, "big")),
        der(0xA0, doid("1.2.840.10045.3.1.7")),
        der(0xA1, der(3, b"\0" + pub)),
    )
    pem = lambda t, b: (
        f"-----BEGIN {t}-----\n"
        + "\n".join(re.findall(".{1,64}", base64.b64encode(b).decode()))
        + f"\n-----END {t}-----\n"
    )
    return pem("CERTIFICATE", cert), pem("EC PRIVATE KEY", key)
