"""HTTP requests and watches of the API server that a kubeconfig or an address names."""

import base64
import json
import os
import socket
import tempfile
import threading
import time
import urllib.parse

import requests
import yaml


class Target:
    def __init__(self, a):
        self.tmp = tempfile.mkdtemp(prefix="k8s-oracle-")
        self.cert = None
        self.token = a.token
        self.basic = None
        if a.server:
            self.server = a.server.rstrip("/")
            self.verify = a.ca or (not a.insecure)
            if self.server.startswith("http:"):
                self.verify = True
            ca = (
                {"certificate-authority": os.path.abspath(a.ca)}
                if a.ca
                else ({"insecure-skip-tls-verify": True} if a.insecure else {})
            )
            self.kc_cluster = {"server": self.server, **ca}
            self.kc_user = {"token": a.token} if a.token else {}
        else:
            f = a.kubeconfig or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
            kc = yaml.safe_load(open(f))
            base = os.path.dirname(os.path.abspath(f))
            cx = next(c["context"] for c in kc["contexts"] if c["name"] == (a.context or kc["current-context"]))
            cl = next(c["cluster"] for c in kc["clusters"] if c["name"] == cx["cluster"])
            us = next(u["user"] or {} for u in kc["users"] if u["name"] == cx["user"])
            self.server = cl["server"].rstrip("/")

            def mat(d, k, nm):
                if d.get(k + "-data"):
                    p = os.path.join(self.tmp, nm)
                    open(p, "wb").write(base64.b64decode(d[k + "-data"]))
                    os.chmod(p, 0o600)
                    return p
                return os.path.join(base, d[k]) if d.get(k) else None

            ca = mat(cl, "certificate-authority", "ca")
            self.verify = False if cl.get("insecure-skip-tls-verify") else (ca or True)
            c, k = mat(us, "client-certificate", "crt"), mat(us, "client-key", "key")
            if c:
                self.cert = (c, k)
            self.token = us.get("token") or self.token
            self.kc_cluster = {
                "server": self.server,
                **(
                    {"certificate-authority": ca}
                    if ca
                    else ({"insecure-skip-tls-verify": True} if self.verify is False else {})
                ),
            }
            self.kc_user = {
                **({"client-certificate": c, "client-key": k} if c else {}),
                **({"token": self.token} if self.token else {}),
            }
        self.local = threading.local()

    def session(self, auth):
        key = json.dumps(auth, sort_keys=True) if auth else ""
        d = self.local.__dict__.setdefault("s", {})
        if key not in d:
            s = requests.Session()
            s.verify = self.verify
            s.trust_env = False
            s.headers["User-Agent"] = "k8s-oracle/1.0"
            if not auth:
                s.cert = self.cert
                if self.token:
                    s.headers["Authorization"] = f"Bearer {self.token}"
            elif auth.get("token"):
                s.headers["Authorization"] = f"Bearer {auth['token']}"
            elif auth.get("as"):
                s.cert = self.cert
                s.headers["Impersonate-User"] = auth["as"]
                if self.token:
                    s.headers["Authorization"] = f"Bearer {self.token}"
                if auth.get("groups"):
                    s.headers["Impersonate-Group"] = ",".join(auth["groups"])
            d[key] = s
        return d[key]

    def send(self, r, stream=False, timeout=90):
        body = r.get("body")
        h = {"Accept": "application/json", **(r.get("headers") or {})}
        data = None
        if body is not None:
            h.setdefault("Content-Type", r.get("type") or "application/json")
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        q = r.get("query")
        url = (
            self.server
            + r["path"]
            + (
                "?"
                + urllib.parse.urlencode(
                    [
                        (k, ("true" if v is True else "false" if v is False else v))
                        for k, vs in q.items()
                        for v in (vs if isinstance(vs, list) else [vs])
                    ]
                )
                if q
                else ""
            )
        )
        return self.session(r.get("auth")).request(
            r.get("method", "GET"), url, data=data, headers=h, stream=stream, timeout=timeout, allow_redirects=False
        )


class Fail(Exception):
    pass


class Watch:
    def __init__(self, t, r):
        self.ev = []
        self.done = False
        self.cv = threading.Condition()
        self.status = None
        self.err = None
        self.ready = threading.Event()
        self.resp = None

        def go():
            try:
                self.resp = t.send(r, stream=True, timeout=(10, 120))
                self.status = self.resp.status_code
                self.ready.set()
                if self.status != 200:
                    with self.cv:
                        self.err = self.resp.text
                        self.done = True
                        self.cv.notify_all()
                    return
                buf = b""
                for ch in (
                    self.resp.raw.stream(65536, decode_content=True)
                    if not self.resp.headers.get("Transfer-Encoding") == "chunked"
                    else self.resp.raw.read_chunked(decode_content=True)
                ):
                    buf += ch
                    while b"\n" in buf:
                        l, buf = buf.split(b"\n", 1)
                        if l.strip():
                            with self.cv:
                                self.ev.append(json.loads(l))
                                self.cv.notify_all()
            except Exception as e:
                self.err = self.err or f"{type(e).__name__}: {e}"
            finally:
                self.ready.set()
                with self.cv:
                    self.done = True
                    self.cv.notify_all()

        threading.Thread(target=go, daemon=True).start()
        self.ready.wait(15)

    def collect(self, count, timeout, quiet):
        end = time.time() + timeout
        with self.cv:
            while not self.done and (count is None or len(self.ev) < count) and time.time() < end:
                self.cv.wait(min(0.5, max(0.01, end - time.time())))
        if count is not None and quiet:
            time.sleep(quiet)
        with self.cv:
            ev, self.ev = self.ev, []
        return ev

    def stop(self):
        try:
            self.resp.raw._connection.sock.shutdown(socket.SHUT_RDWR)  # close() would wait for the reading thread
        except Exception:
            pass
