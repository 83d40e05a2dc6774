"""A member of a consumer group as a process of its own, and what tells a test about it.

    member.py BOOTSTRAP TOPIC GROUP API_VERSION      API_VERSION empty: the client asks the broker

It prints one JSON list an event: ["assigned", [partition, …]], ["record", partition, offset, value], ["committed", partition, offset].
Every tenth offset is committed, so that there are records which were read and not committed. It ends, and leaves the group, when its
standard input does.
"""

import json
import subprocess
import sys
import threading
import time

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

SESSION_TIMEOUT_S = 10
HEARTBEAT_INTERVAL_S = 3


def offset_and_metadata(offset, metadata=""):
    """kafka-python 3 adds a leader epoch."""
    return OffsetAndMetadata(*(offset, metadata, -1)[: len(OffsetAndMetadata._fields)])


def options_of(bootstrap, api_version):
    options = {"bootstrap_servers": bootstrap}
    if api_version:
        options["api_version"] = tuple(int(part) for part in api_version.split("."))
    return options


def wait_for(condition, seconds, what):
    """Polls, because what is waited for happens in other processes."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.05)


class Member:
    """A started member, as the test sees it."""

    def __init__(self, bootstrap, topic, group, api_version=""):
        self.process = subprocess.Popen(
            [sys.executable, __file__, bootstrap, topic, group, api_version], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.assigned = None
        # By partition that is assigned: offsets and values as they came; and what was committed.
        self.read = {}
        self.committed = {}
        # Assigned again, and nothing came since: kafka-python 2 goes back to what is committed, 3 goes on where it was.
        self.resuming = set()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        for line in self.process.stdout:
            event, *about = json.loads(line)
            if event == "assigned":
                self.read = {partition: records for partition, records in self.read.items() if partition in about[0]}
                self.resuming = set(self.read)
                self.assigned = about[0]
            elif event == "record":
                partition, offset, value = about
                records = self.read.setdefault(partition, [])
                if partition in self.resuming:
                    self.resuming.remove(partition)
                    records = self.read[partition] = [record for record in records if record[0] < offset]
                records.append((offset, value))
            elif event == "committed":
                self.committed[about[0]] = about[1]

    def leave(self):
        self.process.stdin.close()
        if self.process.wait(30) != 0:
            raise SystemExit(f"a member ended with status {self.process.returncode}")

    def kill(self):
        self.process.kill()
        self.process.wait()


def wait_for_share(members, partitions, seconds=60):
    """Until the members own all partitions between them, each at least one, none twice."""
    wait_for(
        lambda: all(member.assigned for member in members)
        and sorted(partition for member in members for partition in member.assigned) == list(range(partitions)),
        seconds,
        lambda: f"{partitions} partitions owned once each, by members with {[member.assigned for member in members]}",
    )


def member(bootstrap, topic, group, api_version):
    def tell(*event):
        print(json.dumps(event), flush=True)

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            pass

        def on_partitions_assigned(self, assigned):
            tell("assigned", sorted(partition.partition for partition in assigned))

    consumer = KafkaConsumer(
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_TIMEOUT_S * 1000,
        heartbeat_interval_ms=HEARTBEAT_INTERVAL_S * 1000,
        **options_of(bootstrap, api_version),
    )
    consumer.subscribe([topic], listener=Listener())
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        for partition, records in consumer.poll(timeout_ms=200).items():
            for record in records:
                tell("record", record.partition, record.offset, record.value.decode())
                if record.offset % 10 == 9:
                    consumer.commit({partition: offset_and_metadata(record.offset + 1)})
                    tell("committed", record.partition, record.offset + 1)
    consumer.close()


if __name__ == "__main__":
    member(*sys.argv[1:])
