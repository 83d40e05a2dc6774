"""Writes standard input into partition 0 of a topic, or reads it back to standard output, a line a record, in the protocol of an old Kafka.

    lines.py 0.8.2|0.9|0.10 write|read BOOTSTRAP TOPIC
"""

import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

API_VERSIONS = {"0.8.2": (0, 8, 2), "0.9": (0, 9), "0.10": (0, 10, 0)}


def write(api_version, bootstrap, topic):
    producer = KafkaProducer(bootstrap_servers=bootstrap, api_version=api_version, acks="all", linger_ms=5)
    sent = [producer.send(topic, value=line.rstrip(b"\n"), partition=0) for line in sys.stdin.buffer]
    producer.flush()
    for position, future in enumerate(sent):
        offset = future.get(timeout=30).offset
        if offset != position:
            raise SystemExit(f"record {position} was acknowledged at offset {offset}")
    producer.close()


def read(api_version, bootstrap, topic):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, api_version=api_version, group_id=None, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    consumer.seek_to_beginning(partition)
    while consumer.position(partition) < end:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                sys.stdout.buffer.write(record.value + b"\n")
    consumer.close()


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[2]](API_VERSIONS[sys.argv[1]], *sys.argv[3:])
