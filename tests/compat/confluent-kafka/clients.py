"""librdkafka from Python: every codec, and a group of two with the classic protocol and with that of KIP-848.

    clients.py BOOTSTRAP
"""

import sys
import time
import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 4
SECONDS = 60


def poll_until(consumers, condition, what):
    """Polls all consumers in turns; returns what came until the condition holds for it."""
    deadline = time.monotonic() + SECONDS
    came = []
    while not condition(came):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {SECONDS} s: {what}; {len(came)} records came")
        for consumer in consumers:
            message = consumer.poll(0.05)
            if message is not None and not message.error():
                came.append((message.partition(), message.offset(), message.value()))
                consumer.commit(message, asynchronous=False)
    return came


def produce(bootstrap, topic, first, last, codec="none"):
    """Records first to last - 1 of each partition."""
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 20})
    sent = []
    for position in range(first, last):
        for partition in range(PARTITIONS):
            value = f"the same words in every record: {partition}:{position}".encode()
            producer.produce(topic, value, partition=partition, on_delivery=lambda error, _: failures.append(error) if error else None)
            sent.append((partition, position, value))
    if producer.flush(SECONDS) or failures:
        raise SystemExit(f"{codec}: not delivered: {failures[:1]}")
    return sorted(sent)


def group(bootstrap, topic, protocol):
    config = {"bootstrap.servers": bootstrap, "group.id": f"group-{topic}", "auto.offset.reset": "earliest", "enable.auto.commit": False, **protocol}

    def join():
        consumer = Consumer(config)
        consumer.subscribe([topic])
        return consumer

    def exchange(consumers, first, last, what):
        sent = produce(bootstrap, topic, first, last)
        came = poll_until(consumers, lambda came: len(came) >= len(sent), what)
        if sorted(came) != sent:
            raise SystemExit(f"{what}: other records came than were sent")

    one = join()
    exchange([one], 0, 10, f"{protocol}: one member reads all")
    two = join()
    members = [one, two]
    came = poll_until(members, lambda _: all(len(member.assignment()) == PARTITIONS // 2 for member in members), f"{protocol}: two share")
    if came:
        raise SystemExit(f"{protocol}: {len(came)} records came again after they were committed")
    exchange(members, 10, 20, f"{protocol}: two members read all")
    one.close()
    poll_until([two], lambda _: len(two.assignment()) == PARTITIONS, f"{protocol}: who stays owns all")
    exchange([two], 20, 30, f"{protocol}: who stays reads all")
    two.close()
    three = join()
    exchange([three], 30, 40, f"{protocol}: a new member goes on where the group was")
    three.close()


def main(bootstrap):
    names = ["none", "gzip", "snappy", "lz4", "zstd", "classic", "cooperative", "consumer"]
    topics = {name: f"confluent-{name}-{uuid.uuid4().hex}" for name in names}
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics.values()]).values():
        created.result(SECONDS)
    for codec in names[:5]:
        sent = produce(bootstrap, topics[codec], 0, 100, codec)
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"codec-{topics[codec]}", "auto.offset.reset": "earliest"})
        consumer.subscribe([topics[codec]])
        if sorted(poll_until([consumer], lambda came: len(came) >= len(sent), f"all records of {codec}")) != sent:
            raise SystemExit(f"{codec}: other records came than were sent")
        consumer.close()
    group(bootstrap, topics["classic"], {"partition.assignment.strategy": "range,roundrobin"})
    group(bootstrap, topics["cooperative"], {"partition.assignment.strategy": "cooperative-sticky"})
    group(bootstrap, topics["consumer"], {"group.protocol": "consumer"})


if __name__ == "__main__":
    main(*sys.argv[1:])
