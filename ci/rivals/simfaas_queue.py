#!/usr/bin/env python3
"""The same arrivals and service times in SimFaaS: at most C function instances of rate 1/s, which never expire. SimFaaS has no
queue: what finds all instances busy is rejected. Prints one JSON object."""

import json
import resource
import sys
import time

from simfaas.ServerlessSimulator import ServerlessSimulator


def main(requests, servers, rate):
    simulator = ServerlessSimulator(
        arrival_rate=rate, warm_service_rate=1.0, cold_service_rate=1.0, expiration_threshold=1e12, max_time=requests / rate,
        maximum_concurrency=servers)
    began, cpu = time.monotonic(), time.process_time()
    simulator.generate_trace(debug_print=False, progress=False)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    print(json.dumps({
        "requests": simulator.total_req_count, "rejected": simulator.total_reject_count, "wall_s": wall, "cpu_s": cpu,
        "resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
