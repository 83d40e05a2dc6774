"""A group of two members: they share the partitions, one leaves, and the other goes on where the group had committed.

    groups.py BOOTSTRAP [API_VERSION]      API_VERSION: 0.8.2 0.9 0.10.0; by default the client asks the broker
"""

import sys
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from member import Member, offset_and_metadata, options_of, wait_for, wait_for_share

PARTITIONS = 4


def produce(bootstrap, api_version, topic, first, last):
    """Records first to last - 1 of each partition; each says what it is."""
    producer = KafkaProducer(acks="all", **options_of(bootstrap, api_version))
    sent = [
        (position, producer.send(topic, f"{partition}:{position}".encode(), partition=partition))
        for partition in range(PARTITIONS)
        for position in range(first, last)
    ]
    for position, future in sent:
        offset = future.get(timeout=60).offset
        if offset != position:
            raise SystemExit(f"record {position} was acknowledged at offset {offset}")
    producer.close()


def check_read(member, partition, first, last):
    """The member has read the records first to last - 1 of the partition, in order, once each."""
    expected = [(offset, f"{partition}:{offset}") for offset in range(first, last)]
    read = member.read.get(partition, [])
    if read[: len(expected)] != expected[: len(read)]:
        raise SystemExit(f"partition {partition} from offset {first}: read was {read[:3]}…, expected {expected[:3]}…")
    return len(read) >= len(expected)


def committed(bootstrap, api_version, topic, group):
    """By whoever asks, without being a member."""
    consumer = KafkaConsumer(group_id=group, enable_auto_commit=False, **options_of(bootstrap, api_version))
    offsets = [consumer.committed(TopicPartition(topic, partition)) for partition in range(PARTITIONS)]
    consumer.close()
    return offsets


def without_membership(bootstrap, api_version, topic, group):
    """In Kafka 0.8.2 a group was a name under which offsets are kept: commits of whoever says he is it."""
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    for first in (0, 10):
        consumer = KafkaConsumer(
            group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", **options_of(bootstrap, api_version)
        )
        consumer.assign(partitions)
        for partition in partitions:
            position = consumer.position(partition)
            if position != first:
                raise SystemExit(f"partition {partition.partition} was committed at {first} and goes on at {position}")
        seen = set()
        while len(seen) < PARTITIONS * 10:
            for records in consumer.poll(timeout_ms=1000).values():
                for record in records:
                    if record.value.decode() != f"{record.partition}:{record.offset}":
                        raise SystemExit(f"offset {record.offset} of partition {record.partition} has {record.value}")
                    if first <= record.offset < first + 10:
                        seen.add((record.partition, record.offset))
        consumer.commit({partition: offset_and_metadata(first + 10) for partition in partitions})
        consumer.close()
    offsets = committed(bootstrap, api_version, topic, group)
    if offsets != [20] * PARTITIONS:
        raise SystemExit(f"20 was committed for each partition, and there is {offsets}")


def main(bootstrap, api_version=""):
    topic, group = "groups-" + uuid.uuid4().hex, "group-" + uuid.uuid4().hex
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    admin.close()
    if api_version == "0.8.2":
        produce(bootstrap, api_version, topic, 0, 25)
        without_membership(bootstrap, api_version, topic, group)
        return

    leaving = Member(bootstrap, topic, group, api_version)
    staying = Member(bootstrap, topic, group, api_version)
    wait_for_share([leaving, staying], PARTITIONS)
    moved = list(leaving.assigned)
    produce(bootstrap, api_version, topic, 0, 25)
    for member in (leaving, staying):
        for partition in member.assigned:
            wait_for(lambda: check_read(member, partition, 0, 25), 60, f"records 0 to 24 of partition {partition}")
            wait_for(lambda: {**leaving.committed, **staying.committed}.get(partition) == 20, 60, f"20 committed for partition {partition}")
    offsets = committed(bootstrap, api_version, topic, group)
    if offsets != [20] * PARTITIONS:
        raise SystemExit(f"20 was committed for each partition, and there is {offsets}")

    leaving.leave()
    wait_for_share([staying], PARTITIONS)
    produce(bootstrap, api_version, topic, 25, 35)
    for partition in moved:
        wait_for(lambda: check_read(staying, partition, 20, 35), 60, f"records 20 to 34 of partition {partition}")
    staying.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
