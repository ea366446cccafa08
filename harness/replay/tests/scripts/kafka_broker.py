"""A Kafka cluster of two brokers, librdkafka's own, for the length of a test.

Prints the brokers' addresses, then an answer a line of input: `produce TOPIC PARTITION COUNT` and
`commit GROUP TOPIC PARTITION OFFSET`. Topics have four partitions. Ends with its input.
"""

import sys

from confluent_kafka import Consumer, Producer, TopicPartition

WITHIN = 30

producer = Producer({"test.mock.num.brokers": 2, "log_level": 0})
brokers = producer.list_topics(timeout=WITHIN).brokers.values()
servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
consumers = {}
print(servers, flush=True)
for line in sys.stdin:
    command, *words = line.split()
    if command == "produce":
        topic, partition, count = words
        for _ in range(int(count)):
            producer.produce(topic, b"m", partition=int(partition))
        left = producer.flush(WITHIN)
        print("done" if left == 0 else f"{left} messages were not taken", flush=True)
    elif command == "commit":
        group, topic, partition, offset = words
        if group not in consumers:
            consumers[group] = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 0})
        offsets = [TopicPartition(topic, int(partition), int(offset))]
        done = consumers[group].commit(offsets=offsets, asynchronous=False)
        errors = [str(found.error) for found in done if found.error]
        print("; ".join(errors) or "done", flush=True)
    else:
        print(f"nobody knows {command}", flush=True)
