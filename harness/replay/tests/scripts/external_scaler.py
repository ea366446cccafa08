"""An external scaler as KEDA's users write them: gRPC's own server, and messages made from the interface's file.

Arguments: the interface's file, a folder for what is made of it, and, for TLS, certificate and key as PEM files. Prints the
port, then an answer a line of input: `set METRIC TARGET VALUE ACTIVE` says what it answers from now on and tells streams when
ACTIVE is 1; `seen` prints the objects that it was asked about. Ends with its input.
"""

import json
import pathlib
import queue
import sys
import threading
from concurrent import futures

import grpc
from grpc_tools import protoc

interface, folder, *tls = sys.argv[1:]
interface = pathlib.Path(interface)
arguments = ["protoc", f"-I{interface.parent}", f"--python_out={folder}", f"--grpc_python_out={folder}", interface.name]
if protoc.main(arguments) != 0:
    sys.exit("the interface's file is wrong")
sys.path.insert(0, folder)
import externalscaler_pb2 as messages  # noqa: E402
import externalscaler_pb2_grpc as service  # noqa: E402


class Scaler(service.ExternalScalerServicer):
    def __init__(self):
        self.metric, self.target, self.value, self.is_active = "jobs", 1.0, 0.0, False
        self.seen = {}
        self.streams = []
        self.lock = threading.Lock()

    def note(self, reference):
        with self.lock:
            self.seen[f"{reference.namespace}/{reference.name}"] = dict(reference.scalerMetadata)

    def IsActive(self, request, context):
        self.note(request)
        return messages.IsActiveResponse(result=self.is_active)

    def StreamIsActive(self, request, context):
        self.note(request)
        words = queue.Queue()
        context.add_callback(lambda: words.put(None))
        with self.lock:
            self.streams.append(words)
        for word in iter(words.get, None):
            yield messages.IsActiveResponse(result=word)

    def GetMetricSpec(self, request, context):
        self.note(request)
        specs = [messages.MetricSpec(metricName=self.metric, targetSizeFloat=self.target)]
        return messages.GetMetricSpecResponse(metricSpecs=specs)

    def GetMetrics(self, request, context):
        self.note(request.scaledObjectRef)
        if request.metricName != self.metric:
            context.abort(grpc.StatusCode.NOT_FOUND, f"nobody knows {request.metricName}")
        values = [messages.MetricValue(metricName=self.metric, metricValueFloat=self.value)]
        return messages.GetMetricsResponse(metricValues=values)


scaler = Scaler()
server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
service.add_ExternalScalerServicer_to_server(scaler, server)
if tls:
    certificate, key = (pathlib.Path(path).read_bytes() for path in tls)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
for line in sys.stdin:
    command, *words = line.split()
    if command == "set":
        scaler.metric, scaler.target, scaler.value = words[0], float(words[1]), float(words[2])
        scaler.is_active = words[3] == "1"
        with scaler.lock:
            for stream in scaler.streams:
                stream.put(scaler.is_active)
        print("done", flush=True)
    elif command == "streams":
        with scaler.lock:
            print(len(scaler.streams), flush=True)
    elif command == "seen":
        with scaler.lock:
            print(json.dumps(scaler.seen), flush=True)
    else:
        print(f"nobody knows {command}", flush=True)
server.stop(None)
