# librdkafka, the C client that those of Confluent for Python, Go, .NET and JavaScript are made of: its own test program, every entry that
# needs a broker. That program ends as a whole when one of its tests hangs, and takes the others with it, so here each number of an entry
# gets a process.
LIBRDKAFKA_VERSION=2.15.1
# What holds these sources with their tests.
LIBRDKAFKA_PACKAGE=@confluentinc/kafka-javascript@1.10.1

# The slowest takes some minutes; most have limits of their own.
LIBRDKAFKA_SECONDS=400

# What the suite's quick mode leaves out, wholly or in good part, and what the others are quick without: groups.
LIBRDKAFKA_LONG='0018|0019|0022|0026|0045|0050|0061|0089|0102|0113|0122|0127|0132|0137'

# Of these each function counts, because the first that fails hides the others.
LIBRDKAFKA_PARTS='0081|0102|0113'

# With the consumer protocol (KIP-848) only what has groups is run again.
LIBRDKAFKA_GROUPS='0018|0019|0022|0026|0029|0030|0033|0040|0042|0045|0049|0050|0056|0060|0064|0069|0081:.*(Group|Offset)|0083|0084|0089'
LIBRDKAFKA_GROUPS+='|0091|0093|0099|0102|0109|0113|0118|0122|0127|0130|0132|0137|0140'

librdkafka_about() {
  echo "librdkafka $LIBRDKAFKA_VERSION"
  echo "every test that talks to a broker, groups in full and the rest in the suite's quick mode; groups once more with the consumer" \
    "protocol (\`+consumer\`)"
  echo "SASL and TLS, which are not served yet; most of share groups, of which the quick mode has little; what wants a broker that" \
    "creates no topics by itself or answers over JMX"
}

librdkafka_needs() {
  local header
  lacks npm mvn java javac make c++
  for header in openssl/ssl.h:libssl-dev zlib.h:zlib1g-dev zstd.h:libzstd-dev rapidjson/document.h:rapidjson-dev; do
    [ -e "/usr/include/${header%:*}" ] || echo "${header%:*} (apt-get install ${header#*:})"
  done
}

librdkafka_fetch() { once "$cache/librdkafka-$LIBRDKAFKA_VERSION" librdkafka_build; }

# Without optimisation, because what is looked at is the broker, and it is built in a third of the time. The tests call some of Kafka's
# tools, and some have a half that is written in Java.
librdkafka_build() {
  kafka_jars "$BROKER_VERSION"
  mkdir -p "$1/kafka/bin"
  ln -s "$libraries" "$1/kafka/libs"
  librdkafka_tool "$1" kafka-topics org.apache.kafka.tools.TopicCommand
  librdkafka_tool "$1" kafka-acls org.apache.kafka.tools.AclCommand
  librdkafka_tool "$1" kafka-run-class
  cd "$1"
  npm pack --silent "$LIBRDKAFKA_PACKAGE"
  tar xzf ./*.tgz package/deps/librdkafka
  mv package/deps/librdkafka source
  rm -r package ./*.tgz
  cd source
  ./configure --disable-optimization --disable-debug-symbols --disable-gssapi --disable-curl
  make -j"$(nproc)" libs
  make -j"$(nproc)" -C tests build
  javac -cp "$libraries/*" tests/java/*.java
}

# librdkafka_tool DIRECTORY NAME [CLASS]: a tool of Kafka's where the tests look for it; without a class, its arguments begin with one.
librdkafka_tool() {
  cat > "$1/kafka/bin/$2.sh" <<- END
	#!/bin/sh
	exec ${jvm[*]} -Xmx256m -cp "\${CLASSPATH:+\$CLASSPATH:}\$(dirname "\$0")/../libs/*" ${3:-} "\$@"
	END
  chmod +x "$1/kafka/bin/$2.sh"
}

# As the suite's own brokers are set up, but for their number; so groups wait for more members as long as they do by default. Where there
# are ACLs, everybody may do everything.
librdkafka_settings() {
  echo authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
  echo super.users=User:ANONYMOUS
  echo num.partitions=4
  echo offsets.topic.num.partitions=8
  echo transaction.state.log.num.partitions=8
}

librdkafka_run() {
  local bootstrap=$1 directory=$2 home=$cache/librdkafka-$LIBRDKAFKA_VERSION protocol suffix run names
  printf 'metadata.broker.list=%s\nbroker.address.family=v4\ntest.topic.random=true\n' "$bootstrap" > "$directory/test.conf"
  export RDKAFKA_TEST_CONF=$directory/test.conf TEST_KAFKA_VERSION=$BROKER_VERSION BROKERS=$bootstrap KAFKA_PATH=$home/kafka
  export LD_LIBRARY_PATH=../src:../src-cpp
  cd "$home/source/tests"
  librdkafka_entries > "$directory/entries"
  awk -F '\t' '$3 == "-" { print $1 "\tskipped\t" $2 }' "$directory/entries" > "$directory/results.tsv"
  for protocol in classic consumer; do
    suffix=
    [ "$protocol" = classic ] || suffix=+$protocol
    for run in $(cut -f 3 "$directory/entries" | grep -v '^-$' | sort -u); do
      [ "$protocol" = classic ] || [[ $run =~ $LIBRDKAFKA_GROUPS ]] || continue
      names=$(awk -F '\t' -v run="$run" -v suffix="$suffix" '$3 == run { print $1 suffix }' "$directory/entries" | wanted)
      [ -z "$names" ] || librdkafka_process "$run" "$protocol" "$directory/$run$suffix.log" $names >> "$directory/results.tsv"
    done
  done
  rm -f stats_*.json
}

# librdkafka_entries: of the suite's table, what needs a broker and is not to be started by hand: its name, why it is left out, if it is,
# and the process that runs it: a number, or a number and a function, or - for none.
librdkafka_entries() {
  local entry why function
  awk '/^struct test tests\[\]/ { inside = 1 } inside && /Manual tests/ { exit } inside' test.c | tr '\n' ' ' | sed 's/_TEST(/\n/g' |
    awk -F '[,)]' '
      !/^[0-9][0-9][0-9][0-9]_/ || /TEST_F_(LOCAL|MANUAL)/ { next }
      { why = "" }
      /^0016_/ { why = "needs a broker that answers over JMX" }
      /^(0097|0115|0119|0126|0135|0142)_/ { why = "needs SASL or TLS" }
      /TEST_F_KNOWN_ISSUE[, )]/ { why = "known to fail, says the suite" }
      /"noautocreate"/ { why = "needs a broker that creates no topics by itself" }
      { print $1 "\t" why }' |
    while IFS=$'\t' read -r entry why; do
      if [[ $entry =~ ^($LIBRDKAFKA_PARTS)_ ]]; then
        for function in $(librdkafka_functions "$entry"); do
          printf '%s:%s\t\t%s:%s\n' "$entry" "${function#do_test_}" "${entry%%_*}" "$function"
        done
      elif [ -n "$why" ]; then printf '%s\t%s\t-\n' "$entry" "$why"
      else printf '%s\t\t%s\n' "$entry" "${entry%%_*}"
      fi
    done
}

# librdkafka_functions ENTRY: what its main function calls to test.
librdkafka_functions() {
  sed -nE "/^(int main_$1|static void do_test_apis)\(/,/^\}/p" "${1%%_*}"-*.c* | grep -oE '\b(do_test|[a-z])_[A-Za-z0-9_]+\(' | tr -d '(' |
    grep -v '^do_test_apis$' | sort -u
}

# librdkafka_process RUN PROTOCOL LOG NAME…: runs a process, whose entries the names are. A line says how each entry ended, and a summary
# why it did if it failed. An entry that ends the process has no such lines, but has said what failed. Threads that remain make a process
# end badly although its entries passed.
librdkafka_process() {
  local run=$1 protocol=$2 log=$3 part= quick=-Q ended=0 failed=0 name entry verdict why
  shift 3
  [[ $run != *:* ]] || part=${run#*:}:
  [[ ! $run =~ $LIBRDKAFKA_LONG ]] || quick=
  TESTS=${run%:*} SUBTESTS=$part TEST_CONSUMER_GROUP_PROTOCOL=$protocol limited "$LIBRDKAFKA_SECONDS" ./test-runner -p1 $quick -L -K \
    > "$log" 2>&1 || ended=$?
  sed -i 's/\x1b\[[0-9;]*m//g' "$log"
  ! grep -qaE '^### Test "[0-9]' "$log" || failed=1
  for name in "$@"; do
    entry=${name%%[+:]*}
    verdict=$(sed -nE "s/.* =+ Test $entry (PASSED|FAILED) =+.*/\1/p; s/^\| *$entry +\| +(SKIPPED) +\|.*/\1/p" "$log" | tail -n 1)
    why=$(sed -nE "s/^\| *$entry +\| +[A-Z]+ +\|[^|]*\| ?(.*)/\1/p" "$log" | tail -n 1)
    [ -n "$why" ] || why=$(grep -a -A 1 "^### Test \"$entry[ \"]" "$log" | sed -n 2p || true)
    case $verdict:$ended:$failed in
      PASSED:0:* | PASSED:*:1)
        verdict=passed why=
        # All its parts may have been left out.
        if [ -n "$part$(grep -l 'SUB_TEST(' "${run%:*}"-*.c*)" ] && ! grep -qa "\[ $part.*: PASS (" "$log"; then
          verdict=skipped why=$(sed -nE "s/.*\[ $part.*: SKIP: ([^]]*[^] ]).*/\1/p" "$log" | tail -n 1)
          [ -n "$why" ] || why="nothing of it is in the quick mode, or for groups of the $protocol protocol"
        fi ;;
      PASSED:*) verdict=failed why="it passed, but the process ended with status $ended" ;;
      SKIPPED:*) verdict=skipped ;;
      *:124:* | *:137:*) verdict=failed why=${why:-it did not end within $LIBRDKAFKA_SECONDS s} ;;
      *) verdict=failed why=${why:-the process ended with status $ended} ;;
    esac
    printf '%s\t%s\t%s\n' "$name" "$verdict" "$(sed -E 's/rdkafkatest_[A-Za-z0-9_-]+/TOPIC/g; s/0x[0-9a-f]+/POINTER/g' <<< "$why" | reason)"
  done
}
