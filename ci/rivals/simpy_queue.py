#!/usr/bin/env python3
"""An M/M/c queue in SimPy: ARRIVALS a second, C servers of rate 1/s each, REQUESTS requests. Prints one JSON object.
Written the usual way for SimPy: a process a request, a Resource with c slots, latencies kept for the quantile."""

import json
import random
import resource
import sys
import time

import numpy
import simpy


def main(requests, servers, rate):
    random.seed(42)
    environment = simpy.Environment()
    slots = simpy.Resource(environment, capacity=servers)
    latencies = []

    def request():
        arrived = environment.now
        with slots.request() as slot:
            yield slot
            yield environment.timeout(random.expovariate(1.0))
        latencies.append(environment.now - arrived)

    def source():
        for _ in range(requests):
            yield environment.timeout(random.expovariate(rate))
            environment.process(request())

    environment.process(source())
    began, cpu = time.monotonic(), time.process_time()
    environment.run()
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    print(json.dumps({
        "requests": len(latencies), "mean_s": float(numpy.mean(latencies)), "p99_s": float(numpy.quantile(latencies, 0.99)),
        "wall_s": wall, "cpu_s": cpu, "resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
