"""A member is killed and its partitions move to its peer within the session timeout; the broker is killed and started again, and the
group goes on exactly where it had committed.

    failover.py BOOTSTRAP COMMAND…      COMMAND starts a broker that listens there, with what it had when it was killed
"""

import signal
import socket
import subprocess
import sys
import time
import uuid

from kafka.admin import KafkaAdminClient, NewTopic

from groups import PARTITIONS, check_read, committed, produce
from member import HEARTBEAT_INTERVAL_S, SESSION_TIMEOUT_S, Member, wait_for, wait_for_share

# For what the machine itself needs, on top of the timeouts.
SLACK_S = 5


def start(bootstrap, command):
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    host, port = bootstrap.rsplit(":", 1)

    def listens():
        if broker.poll() is not None:
            raise SystemExit(f"the broker ended with status {broker.returncode}")
        try:
            socket.create_connection((host, int(port)), 1).close()
            return True
        except OSError:
            return False

    wait_for(listens, 60, "the broker listens")
    return broker


def main(bootstrap, *command):
    broker = start(bootstrap, command)
    members = []
    try:
        topic, group = "failover-" + uuid.uuid4().hex, "group-" + uuid.uuid4().hex
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        admin.close()
        victim, peer = members = [Member(bootstrap, topic, group) for _ in range(2)]
        wait_for_share(members, PARTITIONS)
        produce(bootstrap, "", topic, 0, 25)
        for partition in range(PARTITIONS):
            wait_for(lambda: {**victim.committed, **peer.committed}.get(partition) == 20, 60, f"20 committed for partition {partition}")
        moved = list(victim.assigned)
        # Five more of each partition were read and not committed.
        for partition in moved:
            wait_for(lambda: check_read(victim, partition, 0, 25), 60, f"records 0 to 24 of partition {partition}")

        victim.kill()
        killed = time.monotonic()
        wait_for_share([peer], PARTITIONS, SESSION_TIMEOUT_S + HEARTBEAT_INTERVAL_S + SLACK_S)
        print(f"partitions {moved} moved to the peer {time.monotonic() - killed:.1f} s after its member was killed")
        produce(bootstrap, "", topic, 25, 35)
        for partition in moved:
            wait_for(lambda: check_read(peer, partition, 20, 35), 60, f"records 20 to 34 of partition {partition}")
        for partition in range(PARTITIONS):
            wait_for(lambda: peer.committed.get(partition) == 30, 60, f"30 committed for partition {partition}")

        broker.send_signal(signal.SIGKILL)
        broker.wait()
        broker = start(bootstrap, command)
        offsets = committed(bootstrap, "", topic, group)
        if offsets != [30] * PARTITIONS:
            raise SystemExit(f"30 was committed for each partition, and after the broker was killed there is {offsets}")
        members[0] = back = Member(bootstrap, topic, group)
        wait_for_share([back, peer], PARTITIONS)
        produce(bootstrap, "", topic, 35, 45)
        for partition in back.assigned:
            wait_for(lambda: check_read(back, partition, 30, 45), 60, f"records 30 to 44 of partition {partition}")
        for partition in peer.assigned:
            wait_for(lambda: peer.read.get(partition) and peer.read[partition][-1][0] == 44, 60, f"the last record of partition {partition}")
        for member in members:
            member.leave()
    finally:
        for process in [member.process for member in members] + [broker]:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
