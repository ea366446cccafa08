"""An HTTPS admission server whose behaviours come from the cases."""

import base64
import copy
import http.server
import json
import os
import socket
import ssl
import tempfile
import threading
import time
import urllib.parse

from .paths import parse_path, walk
from .tls import make_tls


class Webhooks:
    """HTTPS admission server; path /<namespace>/<name>; behaviours come from the case"""

    def __init__(self, host, bind):
        self.beh = {}
        self.calls = {}
        self.lock = threading.Lock()
        me = self
        cert, key = make_tls(sorted({host, "127.0.0.1", "localhost"}))
        self.ca = base64.b64encode(cert.encode()).decode()

        class H(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *a):
                pass

            def do_POST(self):
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                k = urllib.parse.urlparse(self.path).path.strip("/")
                try:
                    rev = json.loads(raw)
                except ValueError:
                    rev = {}
                q = rev.get("request") or {}
                with me.lock:
                    beh = me.beh.get(k)
                    me.calls.setdefault(k, []).append(rev)
                beh = beh or {"response": {"allowed": True}}
                for r in beh.get("rules") or []:
                    w = walk(q, parse_path(r["if"]["path"]))
                    if (
                        ("absent" in r["if"] and not w)
                        or (w and "equals" in r["if"] and w[0][2] == r["if"]["equals"])
                        or (w and r["if"].get("exists"))
                    ):
                        beh = {**beh, **r}
                        break
                if beh.get("delay"):
                    time.sleep(beh["delay"])
                resp = copy.deepcopy(beh.get("response") or {"allowed": True})
                resp.setdefault("uid", q.get("uid"))
                if "patch" in resp and not isinstance(resp["patch"], str):
                    resp["patch"] = base64.b64encode(json.dumps(resp["patch"]).encode()).decode()
                    resp.setdefault("patchType", "JSONPatch")
                b = json.dumps(
                    beh["raw"]
                    if "raw" in beh
                    else {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": resp}
                ).encode()
                try:
                    self.send_response(beh.get("http_status", 200))
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(b)))
                    self.end_headers()
                    self.wfile.write(b)
                except OSError:
                    pass

        self.srv = http.server.ThreadingHTTPServer((bind, 0), H)
        self.srv.daemon_threads = True
        with tempfile.TemporaryDirectory() as d:
            c, k = os.path.join(d, "c"), os.path.join(d, "k")
            open(c, "w").write(cert)
            open(k, "w").write(key)
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(c, k)
        self.srv.socket = ctx.wrap_socket(self.srv.socket, server_side=True, do_handshake_on_connect=False)
        self.base = f"https://{host}:{self.srv.server_address[1]}"
        s = socket.socket()
        s.bind((bind, 0))
        self.dead = f"https://{host}:{s.getsockname()[1]}"
        s.close()  # nobody listens there
        threading.Thread(target=self.srv.serve_forever, daemon=True).start()
