"""Writes standard input into partition 0 of a topic, or reads it back to standard output, a line a record."""

import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition


def write(bootstrap, topic):
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    sent = [producer.send(topic, value=line.rstrip(b"\n"), partition=0) for line in sys.stdin.buffer]
    producer.flush()
    for position, future in enumerate(sent):
        offset = future.get(timeout=30).offset
        if offset != position:
            raise SystemExit(f"record {position} was acknowledged at offset {offset}")


def read(bootstrap, topic):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    consumer.seek_to_beginning(partition)
    while consumer.position(partition) < end:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                sys.stdout.buffer.write(record.value + b"\n")


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
