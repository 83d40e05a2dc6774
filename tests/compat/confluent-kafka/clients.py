"""librdkafka from Python: every codec, which arrives compressed, and a group of two with the classic protocol and with that of KIP-848.

    clients.py BOOTSTRAP
"""

import json
import sys
import time
import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 4
SECONDS = 60


def poll_until(consumers, condition, what, commits=True):
    """Polls all consumers in turns, and has them commit each record; returns what came until the condition holds for it."""
    deadline = time.monotonic() + SECONDS
    came = []
    while not condition(came):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {SECONDS} s: {what}; {len(came)} records came")
        for consumer in consumers:
            message = consumer.poll(0.05)
            if message is not None and not message.error():
                came.append((message.partition(), message.offset(), message.value()))
                if commits:
                    consumer.commit(message, asynchronous=False)
    return came


def produce(bootstrap, topic, first, last, codec="none"):
    """Records first to last - 1 of each partition, in small batches, of which librdkafka counts the bytes on the wire.

    It sends them plain, without an error, if it finds that the broker does not know the codec.
    """
    failures, counts = [], []
    config = {"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 20, "batch.num.messages": 10}

    def count(statistics):
        counts.append(sum(broker["txbytes"] for broker in json.loads(statistics)["brokers"].values()))

    producer = Producer({**config, "statistics.interval.ms": 100, "stats_cb": count})
    sent = []
    for position in range(first, last):
        for partition in range(PARTITIONS):
            value = f"{'the same words ' * 20}{partition}:{position}".encode()
            producer.produce(topic, value, partition=partition, on_delivery=lambda error, _: failures.append(error) if error else None)
            sent.append((partition, position, value))
    if producer.flush(SECONDS) or failures:
        raise SystemExit(f"{codec}: not delivered: {failures[:1]}")
    # The next count may have begun before the last record was sent, the one after it has not.
    counts.clear()
    deadline = time.monotonic() + SECONDS
    while len(counts) < 2 and time.monotonic() < deadline:
        producer.poll(0.1)
    plain = sum(len(value) for _, _, value in sent)
    if len(counts) < 2 or (codec == "none") != (counts[-1] >= plain):
        raise SystemExit(f"{codec}: {plain} bytes went over the wire as {counts[-1:]}")
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
        came = poll_until([consumer], lambda came: len(came) >= len(sent), f"all records of {codec}", commits=False)
        if sorted(came) != sent:
            raise SystemExit(f"{codec}: other records came than were sent")
        consumer.close()
    group(bootstrap, topics["classic"], {"partition.assignment.strategy": "range,roundrobin"})
    group(bootstrap, topics["cooperative"], {"partition.assignment.strategy": "cooperative-sticky"})
    group(bootstrap, topics["consumer"], {"group.protocol": "consumer"})


if __name__ == "__main__":
    main(*sys.argv[1:])
