# The Rust crates rdkafka, on top of librdkafka, and rskafka, which speaks the protocol itself: the integration tests inside their packages.
RUST_CRATES=(rdkafka-0.39.0 rskafka-0.6.0)

# Whatever rskafka does not understand it tries again for ever.
RUST_CRATES_SECONDS=90

rust_crates_about() {
  local crates=${RUST_CRATES[*]}
  echo "${crates//-/ } (Rust)"
  echo "the integration tests in their packages"
  echo "in rskafka, SASL, TLS, SOCKS5 and what wants a Java client inside the test's own process"
}

rust_crates_needs() {
  lacks cargo make c++
}

rust_crates_fetch() { once "$cache/rust-crates" rust_crates_build; }

# A package that depends on both has cargo fetch them. Each is built with the versions that its own lock file names; what is kept are the
# test programs.
rust_crates_build() {
  local crate kind program features
  cd "$1"
  cargo init --quiet --vcs none --name suites --lib build
  for crate in "${RUST_CRATES[@]}"; do (cd build && cargo add --quiet "${crate%-*}@=${crate##*-}"); done
  (cd build && cargo fetch --quiet)
  export CARGO_TARGET_DIR=$1/build/target CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
  mkdir tests
  for crate in "${RUST_CRATES[@]}"; do
    cp -r "$(printf '%s\n' "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$crate" | head -n 1)" build/
    rm -f "build/$crate/rust-toolchain.toml" # whichever compiler is there
    case $crate in
      rdkafka-*)
        # librdkafka by its own configure script: with cmake it asks for curl's headers whether it is to use curl or not.
        features=(--features libz-static)
        # One program goes to localhost:9092 whatever it is told.
        sed -i 's/"bootstrap.servers", "localhost"/"bootstrap.servers", \&get_bootstrap_server()/' \
          "build/$crate/tests/test_high_producers.rs" ;;
      rskafka-*)
        features=(--all-features)
        # What its lock file names is not accepted by today's compilers.
        (cd "build/$crate" && cargo update --quiet --package rsasl --precise 2.3.1) ;;
    esac
    (cd "build/$crate" && cargo test --locked --no-run --test "*" "${features[@]}" --color never 2>&1) | tee -a /dev/stderr |
      sed -nE 's,^ *Executable tests/(.*)\.rs \((.*)\)$,\1 \2,p' | while read -r kind program; do
        cp "$program" "tests/${crate%-*}.$kind"
      done
  done
  rm -r build
}

# rdkafka's tests expect the broker 0 and topics of three partitions.
rust_crates_settings() {
  echo node.id=0
  echo num.partitions=3
  echo group.initial.rebalance.delay.ms=0
}

rust_crates_run() {
  local program name test log ended verdict why
  export KAFKA_HOST=$1 KAFKA_VERSION=$BROKER_VERSION # rdkafka's
  export TEST_INTEGRATION=1 TEST_BROKER_IMPL=kafka KAFKA_CONNECT=$1 # rskafka's
  cd "$2"
  : > results.tsv
  for program in "$cache"/rust-crates/tests/*; do
    for test in $("$program" --list | sed -nE 's/: test$//p'); do
      name=${program##*/}
      name=${name/./:}:$test
      [ -n "$(wanted <<< "$name")" ] || continue
      log=${name//:/.}.log ended=0
      if [[ $name == *_java_* ]]; then verdict=skipped why="wants a Java client inside its own process"
      elif [[ $name == rskafka:client:test_sasl ]]; then verdict=skipped why="needs SASL"
      else
        limited "$RUST_CRATES_SECONDS" "$program" --exact "$test" --nocapture > "$log" 2>&1 || ended=$?
        case $ended in
          0) verdict=passed why= ;;
          124 | 137) verdict=failed why="it did not end within $RUST_CRATES_SECONDS s" ;;
          # The first line of a panic says where, the second what; a test may return an error instead.
          *)
            verdict=failed why=$(grep -a -A 1 -m 1 ' panicked at ' "$log" | sed -n 2p || true)
            [ -n "$why" ] || why=$(grep -a -m 1 '^Error: ' "$log" || true) ;;
        esac
        if [ "$ended" = 0 ] && grep -q '; 1 ignored' "$log"; then verdict=skipped why="ignored, says the suite"; fi
        if [ "$ended" = 0 ] && grep -qi '^skipping' "$log"; then verdict=skipped why=$(grep -i -m 1 '^skipping' "$log"); fi
      fi
      printf '%s\t%s\t%s\n' "$name" "$verdict" "$(sed -E 's/test_topic_[0-9a-f-]+/TOPIC/g' <<< "$why" | reason)" >> results.tsv
    done
  done
}
