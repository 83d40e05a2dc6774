# Sourced by ../run: Kafka's own tools, and programs of its Java clients. Their version is the argument.

# A background=exec before it makes it the process that $! names, instead of a shell that waits for it.
jvm() {
  local version=$1
  shift
  ${background:-} java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx384m -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$cache/kafka-$version/*" "$@"
}
# expect WHAT EXPECTED PRINTED
expect() {
  [ "$2" = "$3" ] || { printf '%s: expected was %s, and there is %s\n' "$1" "$(head -c 100 <<< "$2" | paste -sd ' ')" "$(head -c 300 <<< "$3" | paste -sd ' ')"; return 1; }
}
# await_that SECONDS WHAT COMMAND…: until the command succeeds.
await_that() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || { echo "in vain waited for: $what"; return 1; }
    sleep 0.5
  done
}

java_groups_needs() { echo java; }
java_groups_setup() { jars "$1"; }
java_groups_run() { jvm "$1" java/Groups.java "$BOOTSTRAP"; }

streams_needs() { echo java; }
streams_setup() { jars "$1"; }
streams_run() { jvm "$1" java/Streams.java "$BOOTSTRAP"; }

kafka_tools_needs() { echo java; }
kafka_tools_setup() { jars "$1"; }
kafka_tools_run() {
  local version=$1 topic=tools-$RANDOM$RANDOM group lines
  local producer=org.apache.kafka.tools.ConsoleProducer tools=org.apache.kafka.tools
  case $version in 3.*) producer=kafka.tools.ConsoleProducer ;; esac
  group=group-$topic
  lines=$work/$topic
  create() { jvm "$version" $tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic "$1" --partitions 1 > /dev/null; }
  write() { jvm "$version" $producer --bootstrap-server "$BOOTSTRAP" --topic "$topic"; }
  read_() { jvm "$version" $tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --topic "$topic" --timeout-ms 30000 "$@"; }
  # The tool waits for 5 s by default, which a busy machine may exceed.
  groups() { jvm "$version" $tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$BOOTSTRAP" --timeout 60000 "$@"; }
  # The new offset is the second word after the topic. Kafka 3.9 prints header and row as one line, so columns cannot be counted from its start.
  reset() {
    local printed
    printed=$(groups --reset-offsets --group "$group" --topic "$topic" --execute "$@" 2>&1) || true
    awk -v topic="$topic" '{ for (i = 1; i <= NF; i++) if ($i == topic) { print $(i + 2); found = 1 } } END { exit !found }' <<< "$printed" || echo "$printed"
  }

  # The console: everything from the beginning, and a group that goes on where it stopped.
  create "$topic" || return
  seq 1 100 > "$lines"
  write < "$lines" || return
  expect "--from-beginning" "$(cat "$lines")" "$(read_ --from-beginning --max-messages 100)" || return
  expect "a group" "$(seq 1 60)" "$(read_ --group "$group" --from-beginning --max-messages 60)" || return

  # consumer-groups: what it says of that group, moves and deletes.
  groups --list | grep -qx "$group" || { echo "--list without the group"; return 1; }
  expect "--describe" "$topic 0 60 100 40" "$(groups --describe --group "$group" 2> /dev/null | awk -v group="$group" '$1 == group { print $2, $3, $4, $5, $6 }')" || return
  groups --describe --group "$group" --state 2> /dev/null | grep -q Empty || { echo "--state without Empty"; return 1; }
  groups --describe --group "$group" --members 2>&1 | grep -q "has no active members" || { echo "--members: a group without members"; return 1; }
  expect "resumed" "$(seq 61 100)" "$(read_ --group "$group" --max-messages 40)" || return
  expect "--to-earliest" 0 "$(reset --to-earliest)" || return
  expect "--to-latest" 100 "$(reset --to-latest)" || return
  expect "--shift-by" 90 "$(reset --shift-by -10)" || return
  expect "--to-current" 90 "$(reset --to-current)" || return
  expect "--to-offset" 42 "$(reset --to-offset 42)" || return
  expect "--to-datetime" 0 "$(reset --to-datetime 2020-01-01T00:00:00.000)" || return
  expect "--by-duration" 0 "$(reset --by-duration P1D)" || return
  groups --reset-offsets --group "$group" --topic "$topic" --to-offset 77 --dry-run --export 2> /dev/null | grep -F "$topic" > "$lines.csv" || return
  expect "--from-file" 77 "$(reset --from-file "$lines.csv")" || return
  expect "read after a reset" "$(seq 78 100)" "$(read_ --group "$group" --max-messages 23)" || return
  groups --delete-offsets --group "$group" --topic "$topic" | grep -q Successful || { echo "--delete-offsets"; return 1; }
  groups --reset-offsets --group "$group" --topic "$topic" --to-offset 1 --execute > /dev/null || return
  groups --delete --group "$group" | grep -q successful || { echo "--delete"; return 1; }
  ! groups --list | grep -qx "$group" || { echo "--list with the group that was deleted"; return 1; }

  # The programs with which Kafka's own system tests look at a cluster. This one wants topics of its own, one of which it calls newtopic.
  compatible() {
    local topics=(jvm "$version" $tools.TopicCommand --bootstrap-server "$BOOTSTRAP")
    "${topics[@]}" --delete --if-exists --topic newtopic > /dev/null || return
    jvm "$version" $tools.ClientCompatibilityTest --bootstrap-server "$BOOTSTRAP" --num-cluster-nodes 1 --topic "$topic-acls-$1" \
      --offsets-for-times-supported true --cluster-id-supported true --expect-record-too-large-exception false --create-topics-supported true \
      --describe-acls-supported "$1" --describe-configs-supported true --idempotent-producer-supported true > "$lines.compatibility" 2>&1
  }
  # With or without access control lists.
  compatible true || compatible false || { echo "ClientCompatibilityTest: $(grep -m 1 FAILED "$lines.compatibility")"; return 1; }
  create "$topic-verifiable" || return
  jvm "$version" $tools.VerifiableProducer --bootstrap-server "$BOOTSTRAP" --topic "$topic-verifiable" --max-messages 500 --acks -1 > "$lines.produced" || return
  expect VerifiableProducer 500 "$(grep -c producer_send_success "$lines.produced")" || return
  jvm "$version" $tools.VerifiableConsumer --bootstrap-server "$BOOTSTRAP" --topic "$topic-verifiable" --group-id "$group-verifiable" --max-messages 500 \
    --reset-policy earliest > "$lines.consumed" || return
  expect VerifiableConsumer 500 "$(sed -nE 's/.*"name":"records_consumed".*"count":([0-9]+),"partitions.*/\1/p; s/.*"count":([0-9]+).*"name":"records_consumed".*/\1/p' "$lines.consumed" | awk '{ sum += $1 } END { print sum + 0 }')" || return

  # Those that measure.
  create "$topic-perf" || return
  jvm "$version" $tools.ProducerPerformance --topic "$topic-perf" --num-records 20000 --record-size 100 --throughput -1 \
    --producer-props bootstrap.servers="$BOOTSTRAP" acks=all | grep -q '^20000 records sent' || { echo "producer-perf-test"; return 1; }
  jvm "$version" $tools.ConsumerPerformance --bootstrap-server "$BOOTSTRAP" --topic "$topic-perf" --messages 20000 --timeout 30000 > "$lines.perf" || return
  expect "consumer-perf-test" 20000 "$(tail -n 1 "$lines.perf" | awk -F ', ' '{ print $5 }')"
}

# Lines go from a file into a topic and from the topic into a file, also those that are added later, and after a restart none twice.
connect_needs() { echo java; }
connect_setup() { jars "$1"; }
connect_run() {
  local version=$1 dir=$work/connect topic=connect-$RANDOM$RANDOM pid
  mkdir -p "$dir"
  cat > "$dir/worker.properties" <<- END
	bootstrap.servers=$BOOTSTRAP
	key.converter=org.apache.kafka.connect.storage.StringConverter
	value.converter=org.apache.kafka.connect.storage.StringConverter
	offset.storage.file.filename=$dir/offsets
	offset.flush.interval.ms=1000
	listeners=http://127.0.0.1:0
	plugin.discovery=service_load
	plugin.path=$cache/kafka-$version
	END
  printf '%s\n' name=source connector.class=FileStreamSource tasks.max=1 "file=$dir/in" "topic=$topic" > "$dir/source.properties"
  printf '%s\n' "name=sink-$topic" connector.class=FileStreamSink tasks.max=1 "file=$dir/out" "topics=$topic" > "$dir/sink.properties"
  sunk() { [ "$(cat "$dir/out" 2> /dev/null)" = "$(cat "$dir/in")" ]; }
  for last in 100 200; do
    seq $((last - 99)) "$last" >> "$dir/in"
    background=exec jvm "$version" org.apache.kafka.connect.cli.ConnectStandalone "$dir/worker.properties" "$dir/source.properties" "$dir/sink.properties" &
    pid=$!
    await_that 180 "$last lines in the sink's file" sunk || { echo "there are $(cat "$dir/out" 2> /dev/null | wc -l)"; return 1; }
    kill "$pid" && wait "$pid" || true
  done
  sunk
}

# A topic of one broker appears at the other, with all its records, and a group that read it here goes on there where it was.
# BOOTSTRAP_TARGET may name the second broker.
mirror_maker_needs() { if [ -n "${BOOTSTRAP_TARGET:-}" ]; then echo java; else echo java own-broker; fi; }
mirror_maker_setup() { jars "$1"; }
mirror_maker_run() {
  local version=$1 dir=$work/mirror topic=mirrored-$RANDOM$RANDOM target=${BOOTSTRAP_TARGET:-} group read
  group=group-$topic
  mkdir -p "$dir"
  [ -n "$target" ] || { start_siltstone "$program"; target=$siltstone; }
  cat > "$dir/mm2.properties" <<- END
	clusters=a,b
	a.bootstrap.servers=$BOOTSTRAP
	b.bootstrap.servers=$target
	a->b.enabled=true
	a->b.topics=$topic
	a->b.groups=$group
	a->b.sync.group.offsets.enabled=true
	a->b.sync.group.offsets.interval.seconds=1
	a->b.emit.checkpoints.interval.seconds=1
	a->b.offset.lag.max=0
	b->a.enabled=false
	replication.factor=1
	checkpoints.topic.replication.factor=1
	heartbeats.topic.replication.factor=1
	offset-syncs.topic.replication.factor=1
	offset.storage.replication.factor=1
	status.storage.replication.factor=1
	config.storage.replication.factor=1
	offset.flush.interval.ms=1000
	END
  jvm "$version" org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic "$topic" --partitions 2 > /dev/null || return
  write() { seq "$1" "$2" | jvm "$version" org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" --topic "$topic"; }
  # read_sorted BROKER TOPIC HOW_MANY OPTION…: from the beginning, or from where the group that is an option has committed.
  read_sorted() {
    jvm "$version" org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$1" --topic "$2" --from-beginning --max-messages "$3" \
      --timeout-ms 60000 "${@:4}" | sort -n
  }
  write 1 100 || return
  read=$(read_sorted "$BOOTSTRAP" "$topic" 100 --group "$group") || return
  expect "the group at the source" "$(seq 1 100)" "$read" || return
  jvm "$version" org.apache.kafka.connect.mirror.MirrorMaker "$dir/mm2.properties" > "$dir/log" 2>&1 &
  # The offsets that the group has at the target, of both partitions together, once it has them.
  synced() {
    [ 100 = "$(jvm "$version" org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$target" --timeout 60000 --describe --group "$group" 2> /dev/null |
      awk -v topic="a.$topic" '$2 == topic { sum += $4 } END { print sum }')" ]
  }
  await_that 180 "the group's offsets at the target" synced || { grep -m 3 ERROR "$dir/log"; return 1; }
  write 101 200 || return
  read=$(read_sorted "$target" "a.$topic" 100 --group "$group") || return
  expect "the group at the target" "$(seq 101 200)" "$read" || return
  read=$(read_sorted "$target" "a.$topic" 200) || return
  expect "what is mirrored" "$(seq 1 200)" "$read"
}
