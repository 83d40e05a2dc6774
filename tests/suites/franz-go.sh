# twmb/franz-go: chains of consumers and producers, each group of which reads what the one before it wrote, while members come and go; every
# record is checked. The records are fewer than upstream's 500,000 so that a laptop finishes.
FRANZ_GO_VERSION=1.21.5
FRANZ_GO_RECORDS=50000

franz_go_about() {
  echo "franz-go $FRANZ_GO_VERSION, package \`kgo\`"
  echo "every test that talks to a broker, chains of groups with $FRANZ_GO_RECORDS records"
  echo "TLS and SCRAM, which are not served yet"
}
franz_go_needs() { lacks go; }
franz_go_fetch() { once "$cache/franz-go-$FRANZ_GO_VERSION" franz_go_build; }
franz_go_build() {
  go_source "github.com/twmb/franz-go@v$FRANZ_GO_VERSION" "$1"
  (cd "$1" && go test -c -o kgo.test ./pkg/kgo)
}
franz_go_settings() { echo group.initial.rebalance.delay.ms=0; }
franz_go_run() {
  local program=$cache/franz-go-$FRANZ_GO_VERSION/kgo.test
  export KGO_SEEDS=$1 KGO_TEST_RF=1 KGO_TEST_RECORDS=$FRANZ_GO_RECORDS KGO_TEST_STABLE_FETCH=true
  "$program" -test.list '^Test(GroupETL|TxnEtl|Consume|Issue|Direct|Pause|AddRemove|GroupSimple|Client_Produce|Ping|UnknownGroup|Share)' |
    grep ^Test | go_tests "$program" 300 "$2"
}
