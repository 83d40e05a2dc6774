# Sourced by the scripts of the folders beside it: brokers on ports of the loopback, with their data below $work, killed when the script
# ends. Nothing of theirs is kept, so they need not tidy up.
work=$(mktemp -d)
children=()

stop_children() {
  local child
  for child in ${children[@]+"${children[@]}"}; do kill -KILL "$child" 2> /dev/null || true; done
  for child in ${children[@]+"${children[@]}"}; do wait "$child" 2> /dev/null || true; done
  children=()
}
finish() {
  stop_children
  rm -rf "$work"
}
trap finish EXIT

# A port that nobody listens on, below those that connections are given.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || { echo "$port"; return; }
  done
}

# await CHILD LOG COMMAND…: until the command succeeds, for a minute, or says what the child logged.
await() {
  local child=$1 log=$2
  shift 2
  for _ in $(seq 600); do
    ! "$@" 2> /dev/null || return 0
    kill -0 "$child" 2> /dev/null || break
    sleep 0.1
  done
  echo "what should run does not:" >&2
  tail -n 20 "$log" >&2
  return 1
}
listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1"); }

# start_siltstone PROGRAM [SETTING…]: an empty broker on a port of the system's choice, said in its ready line; sets siltstone to its
# address.
start_siltstone() {
  local program=$1 dir=$work/siltstone-$RANDOM$RANDOM setting settings=()
  shift
  for setting in metadata.listen=127.0.0.1:0 "$@"; do settings+=(--set "$setting"); done
  "$program" serve --data-dir "$dir" --listen PLAINTEXT://127.0.0.1:0 --http 127.0.0.1:0 "${settings[@]}" > "$dir.ready" 2> "$dir.log" &
  children+=($!)
  await $! "$dir.log" grep -q 'PLAINTEXT://127\.0\.0\.1:' "$dir.ready"
  siltstone=$(sed -nE 's,.*PLAINTEXT://(127\.0\.0\.1:[0-9]+).*,\1,p' "$dir.ready" | head -n 1)
}

# kafka_jars VERSION: fetches Apache Kafka's broker and command line tools and sets libraries to the directory with their jars, which
# appears only when it is complete.
kafka_jars() {
  local tests
  tests=$(dirname "${BASH_SOURCE[0]}")
  libraries=${XDG_CACHE_HOME:-$HOME/.cache}/siltstone/clients/kafka-$1
  [ ! -d "$libraries" ] || return 0
  rm -rf "$libraries.part"
  mvn --quiet --batch-mode -f "$tests/kafka-tools/pom.xml" -Dkafka.version="$1" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$libraries.part" || { echo "Kafka $1 could not be fetched" >&2; return 1; }
  mv "$libraries.part" "$libraries"
}

# Brokers and tools that do not live long: compile little and collect garbage simply.
jvm=(java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto)

# start_kafka LIBRARIES [SETTING…]: an empty Apache Kafka of those jars, its own controller; sets kafka to its address. A setting given here
# counts, not the one it has otherwise. Kafka's eligible leader replicas (KIP-966) are off, as in a cluster that is older than they are:
# without replicas there is nothing for them to say, and min.insync.replicas would be a setting of the cluster. Its long session is for
# machines that do other things, too.
start_kafka() {
  local libraries=$1 dir port controller setting id=1 attempt logs=(-Dorg.slf4j.simpleLogger.defaultLogLevel=warn)
  shift
  for setting in "$@"; do case $setting in node.id=*) id=${setting#*=} ;; esac; done
  for attempt in 1 2 3; do # another program may take one of the ports before Kafka has it
    dir=$work/kafka-$RANDOM$RANDOM
    mkdir -p "$dir"
    port=$(free_port) controller=$(free_port)
    cat > "$dir/server.properties" <<- END
	process.roles=broker,controller
	node.id=$id
	controller.quorum.voters=$id@127.0.0.1:$controller
	controller.listener.names=CONTROLLER
	listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
	listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
	log.dirs=$dir/data
	broker.session.timeout.ms=60000
	offsets.topic.replication.factor=1
	transaction.state.log.replication.factor=1
	transaction.state.log.min.isr=1
	share.coordinator.state.topic.replication.factor=1
	share.coordinator.state.topic.min.isr=1
	END
    printf '%s\n' "$@" >> "$dir/server.properties"
    "${jvm[@]}" -Xmx256m "${logs[@]}" -cp "$libraries/*" kafka.tools.StorageTool format --cluster-id 4L6g3nShT-eMCtK--X86sw \
      --feature eligible.leader.replicas.version=0 --config "$dir/server.properties" > "$dir/log" 2>&1 || { cat "$dir/log" >&2; return 1; }
    "${jvm[@]}" -Xmx1g "${logs[@]}" -cp "$libraries/*" kafka.Kafka "$dir/server.properties" >> "$dir/log" 2>&1 &
    children+=($!)
    if await $! "$dir/log" listens "$port"; then kafka=127.0.0.1:$port; return; fi
    kill -KILL $! 2> /dev/null || true
  done
  return 1
}
