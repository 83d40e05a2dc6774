# IBM/sarama: its functional tests, through toxiproxy, with which they slow down and cut connections. They are written for five brokers; in
# the copy that is built there is one, behind one proxy, and topics of one replica.
SARAMA_VERSION=1.60.1
TOXIPROXY_VERSION=2.12.0

# These start containers, or stop those of brokers.
SARAMA_CONTAINERS='TestJava.*
TestConsumerFetchFollowerFailover.*
TestFuncAdminElectLeaders
TestFuncAdminListConsumerGroupOffsets
TestFuncIdempotentBufferedSequence.*
TestFuncTxnProduceWithBrokerFailure'

sarama_about() {
  echo "sarama $SARAMA_VERSION, functional tests"
  echo "all of them, with one broker in place of five and one replica in place of three; some speak every version from Kafka 0.8 on"
  echo "what starts and stops brokers or runs Java programs in containers"
}
sarama_needs() { lacks go; }
sarama_fetch() { once "$cache/sarama-$SARAMA_VERSION" sarama_build; }
sarama_build() {
  GOBIN=$1 go install "github.com/Shopify/toxiproxy/v2/cmd/server@v$TOXIPROXY_VERSION"
  mv "$1/server" "$1/toxiproxy"
  mkdir "$1/source"
  go_source "github.com/IBM/sarama@v$SARAMA_VERSION" "$1/source"
  cd "$1/source"
  sed -i -E -e 's/ReplicationFactor: +3/ReplicationFactor: 1/; s/len\(partition\.Isr\) != 3/len(partition.Isr) < 1/' \
    -e 's/fmt\.Sprintf\("127\.0\.0\.1:%d", 29090\+i\)/os.Getenv("BOOTSTRAP")/' functional_*test.go
  go test -mod=mod -c -tags functional -o ../sarama.test .
}
# The broker is behind the proxy for everybody, so it has to name the proxy's port. sarama_run needs it too.
sarama_settings() {
  free_port > "$work/sarama.proxy"
  printf '%s\n' "advertised.listeners=PLAINTEXT://127.0.0.1:$(cat "$work/sarama.proxy")" auto.create.topics.enable=false \
    group.initial.rebalance.delay.ms=0 group.min.session.timeout.ms=100
}
sarama_run() {
  local directory=$2 program=$cache/sarama-$SARAMA_VERSION/sarama.test proxy controller
  proxy=$(cat "$work/sarama.proxy") controller=$(free_port)
  # The proxies of brokers that are not there are never used.
  { printf '[{"name":"kafka1","listen":"127.0.0.1:%s","upstream":"%s","enabled":true}' "$proxy" "$1"
    printf ',{"name":"kafka%s","listen":"127.0.0.1:0","upstream":"127.0.0.1:1","enabled":false}' 2 3 4 5
    echo ']'; } > "$directory/proxies.json"
  "$cache/sarama-$SARAMA_VERSION/toxiproxy" -host 127.0.0.1 -port "$controller" -config "$directory/proxies.json" \
    > "$directory/toxiproxy.log" 2>&1 &
  await $! "$directory/toxiproxy.log" listens "$proxy"
  export BOOTSTRAP=127.0.0.1:$proxy TOXIPROXY_ADDR=http://127.0.0.1:$controller KAFKA_VERSION=4.1.0
  cd "$cache/sarama-$SARAMA_VERSION/source" # some read files beside them
  # The program would start brokers before it lists its tests.
  sed -nE 's/^func (Test[A-Za-z0-9_]+)\(t \*testing\.T\) .*/\1/p' functional_*test.go |
    grep -vxE "$(paste -sd '|' <<< "$SARAMA_CONTAINERS")" |
    go_tests_together "$program" 180 "$directory"
}
