# Sourced by run and record: what they need beside the brokers of ../brokers.sh.
. ../brokers.sh
cache=${XDG_CACHE_HOME:-$HOME/.cache}/siltstone/differential
libraries=$cache/kafka-4.3.1
export CARGO_TARGET_DIR=$cache/target

# need PROGRAM…: says what of these a machine lacks, and ends.
need() {
  local lacking=() name
  for name in "$@"; do
    case $name in
      mvn) command -v mvn > /dev/null || lacking+=("mvn (apt-get install maven)") ;;
      java) command -v java > /dev/null || lacking+=("java 17 or newer (apt-get install default-jre-headless)") ;;
      go) command -v go > /dev/null || lacking+=("go (https://go.dev/dl)") ;;
      kcat) command -v kcat > /dev/null || lacking+=("kcat (apt-get install kcat)") ;;
      venv) python3 -c 'import venv, ensurepip' 2> /dev/null || lacking+=("python3 with venv (apt-get install python3-venv)") ;;
      *) [ -x "$name" ] || lacking+=("$name (make build)") ;;
    esac
  done
  [ ${#lacking[@]} -eq 0 ] || { printf 'differential: this machine lacks %s\n' "${lacking[@]}" >&2; exit 1; }
}

# Kafka and its tools. The directory appears only when it is complete.
fetch_kafka() {
  [ ! -d "$libraries" ] || return 0
  rm -rf "$libraries.part"
  mvn --quiet --batch-mode -f pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$libraries.part"
  mv "$libraries.part" "$libraries"
}

# Of both brokers. Recordings grow old, and what they say was written does too: by Kafka's default it would be gone after a week. Groups
# assign at once what they can: an answer that waits for a timer would be another one each time.
settings=(log.retention.ms=-1 group.initial.rebalance.delay.ms=0 group.consumer.assignment.interval.ms=0)
# And of Kafka alone.
kafka_settings=("${settings[@]}" offsets.topic.num.partitions=1 group.consumer.assignor.offload.enable=false)
