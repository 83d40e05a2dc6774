"""KafkaProducer and KafkaConsumer as on the front page of kafka-python, and every record that was sent comes back as it was.

    front_page.py BOOTSTRAP [API_VERSION]      API_VERSION: 0.8.2 0.9 0.10.0; by default the client asks the broker
"""

import json
import sys
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

SECONDS = 60


def check(condition, what):
    if not condition:
        raise SystemExit(what)


def main(bootstrap, api_version=None):
    options = {"bootstrap_servers": bootstrap}
    if api_version:
        options["api_version"] = tuple(int(part) for part in api_version.split("."))
    # Records have headers since Kafka 0.11, and times since 0.10.
    headers_known = not api_version
    topic = "front-page-" + uuid.uuid4().hex
    sent = []

    producer = KafkaProducer(**options)
    for _ in range(100):
        producer.send(topic, b"some_message_bytes")
        sent.append((None, b"some_message_bytes", []))
    # Blocks until the one message is written.
    written = producer.send(topic, b"another_message").get(timeout=SECONDS)
    sent.append((None, b"another_message", []))
    check((written.topic, written.partition, written.offset) == (topic, 0, 100), f"the message after the first 100 was written as {written}")
    producer.flush()
    producer.send(topic, key=b"foo", value=b"bar")
    sent.append((b"foo", b"bar", []))
    if headers_known:
        producer.send(topic, value=b"c29tZSB2YWx1ZQ==", headers=[("content-encoding", b"base64")])
        sent.append((None, b"c29tZSB2YWx1ZQ==", [("content-encoding", b"base64")]))
    producer.close()

    producer = KafkaProducer(value_serializer=lambda value: json.dumps(value).encode("utf-8"), **options)
    producer.send(topic, {"foo": "bar"})
    sent.append((None, b'{"foo": "bar"}', []))
    producer.close()

    producer = KafkaProducer(key_serializer=str.encode, **options)
    producer.send(topic, key="ping", value=b"1234")
    sent.append((b"ping", b"1234", []))
    producer.close()

    producer = KafkaProducer(compression_type="gzip", **options)
    for i in range(1000):
        producer.send(topic, b"msg %d" % i)
        sent.append((None, b"msg %d" % i, []))
    producer.flush()
    check(producer.metrics(), "the producer has no metrics")
    producer.close()

    def read(consumer, many):
        records = []
        for record in consumer:
            records.append(record)
            if len(records) == many:
                return records
        raise SystemExit(f"{len(records)} records came in {SECONDS} s, not {many}")

    def check_records(records, expected, how):
        for record, (key, value, headers) in zip(records, expected):
            check(
                (record.key, record.value, list(record.headers)) == (key, value, headers),
                f"{how}: offset {record.offset} has {record.key} {record.value} {record.headers}, sent was {key} {value} {headers}",
            )

    waits = {"consumer_timeout_ms": SECONDS * 1000, **options}
    consumer = KafkaConsumer(topic, auto_offset_reset="earliest", **waits)
    records = read(consumer, len(sent))
    check([record.offset for record in records] == list(range(len(sent))), "without a group: offsets have gaps")
    check_records(records, sent, "without a group")
    check(consumer.metrics(), "the consumer has no metrics")
    consumer.close()

    # Joins a group; what it has read is committed when it is closed.
    group = "front-page-" + uuid.uuid4().hex
    consumer = KafkaConsumer(topic, group_id=group, auto_offset_reset="earliest", **waits)
    check_records(read(consumer, 500), sent[:500], "in a group")
    consumer.close()
    consumer = KafkaConsumer(topic, group_id=group, auto_offset_reset="earliest", **waits)
    resumed = read(consumer, len(sent) - 500)
    check(resumed[0].offset == 500, f"the group had read up to 500 and goes on at {resumed[0].offset}")
    check_records(resumed, sent[500:], "in a group again")
    consumer.close()

    # Partitions that nobody assigns but the program itself.
    consumer = KafkaConsumer(**waits)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    check(next(consumer).value == b"some_message_bytes", "an assigned partition does not begin with the first record")
    consumer.close()

    consumer = KafkaConsumer(value_deserializer=lambda value: value.decode("utf-8"), auto_offset_reset="earliest", **waits)
    consumer.subscribe([topic])
    check(read(consumer, 1)[0].value == "some_message_bytes", "a value was not deserialised")
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
