# segmentio/kafka-go: the tests of its main package. They expect a broker 1 without a rack at localhost:9092; in the copy that is built, the
# address is a variable.
KAFKA_GO_VERSION=0.4.50

# These call a function that their code has not set, with any broker. The panic would take the tests with it that run beside them.
KAFKA_GO_PANICS='^TestReaderConsumerGroup$/^(verify_offset_committed|consumer_group_commits_on_close)'

kafka_go_about() {
  echo "kafka-go $KAFKA_GO_VERSION, main package"
  echo "the tests that need a broker"
  echo "connections with SASL and TLS, which are not served yet, tests that pass without a broker, and three that panic on any"
}
kafka_go_needs() { lacks go; }
kafka_go_fetch() { once "$cache/kafka-go-$KAFKA_GO_VERSION" kafka_go_build; }
kafka_go_build() {
  go_source "github.com/segmentio/kafka-go@v$KAFKA_GO_VERSION" "$1"
  cp "$here/kafka-go/bootstrap_test.go" "$1"
  cd "$1"
  rm address_test.go example_*_test.go # of these none needs a broker, and the first is about the address
  sed -i -E -e '/^\tconst \($/,/^\t\)$/ s/^\tconst \($/\tvar (/; s/^\tconst broker = /\tvar broker = /' \
    -e 's/"(localhost|127\.0\.0\.1):9092"/bootstrap/g; s/TCP\("localhost"\)/TCP(bootstrap)/g' \
    -e 's/"example\.com:9092"/net.JoinHostPort("example.com", strconv.Itoa(bootstrapPort))/g' \
    -e 's/Host: "localhost", Port: 9092/Host: bootstrapHost, Port: bootstrapPort/g' \
    -e 's/Host != "localhost"/Host != bootstrapHost/; s/Port != 9092/Port != bootstrapPort/' ./*_test.go
  sed -i 's/^\t"sort"$/&\n\t"strconv"/' dialer_test.go
  go test -mod=mod -c -o kafka-go.test .
}
kafka_go_settings() {
  printf '%s\n' num.partitions=1 message.max.bytes=200000000 group.initial.rebalance.delay.ms=0 group.min.session.timeout.ms=100
}
kafka_go_run() {
  local program=$cache/kafka-go-$KAFKA_GO_VERSION/kafka-go.test
  # Tests of transactions are skipped when the version that they are told is 3.0 or newer.
  export BOOTSTRAP=$1 KAFKA_VERSION=2.7.0 KAFKA_SKIP_NETTEST=1
  grep -v '^#' "$here/kafka-go/tests" | go_tests "$program" 180 "$2" -test.skip "$KAFKA_GO_PANICS"
}
