# kafka-python: the integration tests in its source distribution.
KAFKA_PYTHON_VERSION=3.0.12

kafka_python_about() {
  echo "kafka-python $KAFKA_PYTHON_VERSION"
  echo "integration tests of producers, consumers, groups and the administrative client, in the newest versions the client knows"
  echo "SASL and TLS, which are not served yet"
}
kafka_python_needs() { lacks venv; }
kafka_python_fetch() { once "$cache/kafka-python-$KAFKA_PYTHON_VERSION" kafka_python_build; }
kafka_python_build() {
  python3 -m venv "$1/python"
  "$1/python/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/kafka-python/requirements.txt"
  (cd "$1" && python/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary kafka-python \
    "kafka-python==$KAFKA_PYTHON_VERSION")
  mkdir "$1/source"
  tar -xzf "$1"/kafka_python-*.tar.gz -C "$1/source" --strip-components 1
  # The distribution lacks these two of its tests' modules. Without the first, Python's own package test is taken instead; the second starts
  # and stops brokers, which is done for it here.
  touch "$1/source/test/__init__.py"
  cp "$here/kafka-python/service.py" "$1/source/test/service.py"
}
# The tests' fixtures expect a broker 0 and topics of four partitions.
kafka_python_settings() { printf '%s\n' node.id=0 num.partitions=4 group.initial.rebalance.delay.ms=0 group.min.session.timeout.ms=100; }
# never_asked LOG: whether a consumer in it subscribed to topics and never asked any broker for them. While a consumer of this version waits
# for its first answer about the brokers, it forgets a subscription that is made meanwhile, and asks again only after five minutes.
kafka_python_never_asked() {
  awk '
    /Sending metadata request MetadataRequest\(topics=\[\]/ { of_none[$3] = 1; next }
    /Sending metadata request/ { delete of_none[$3] }
    /subscription_state +Updated partition assignment: \[\]/ { consumer[$3] = 1 }
    END { for (thread in consumer) if (thread in of_none) exit 0; exit 1 }' "$1"
}
kafka_python_run() {
  local directory=$2 seconds=60 file tests name log verdict said attempt
  local pytest=("$cache/kafka-python-$KAFKA_PYTHON_VERSION/python/bin/python" -m pytest -q -p no:cacheprovider --color=no --tb=short
    --log-level DEBUG --timeout "$seconds" --timeout-method signal)
  cd "$cache/kafka-python-$KAFKA_PYTHON_VERSION/source"
  export KAFKA_URI=kafka://$1 KAFKA_VERSION=4.3.0 KAFKA_ROOT=$directory
  : > "$directory/results.tsv"
  for file in producer consumer admin; do
    tests=test/integration/test_${file}_integration.py
    limited 300 "${pytest[@]}" --collect-only "$tests" | sed -n 's/^test.*\.py:://p' > "$directory/$file.names"
    wanted < "$directory/$file.names" | while read -r name; do
      log=$directory/$file-${name//\//_}.log verdict=failed said=
      # What a broker was never asked tells nothing about it, so that test is run again, on either broker.
      for attempt in 1 2 3 4 5; do
        if limited $((seconds + 10)) "${pytest[@]}" -rs "$tests::$name" > "$log" 2>&1; then verdict=passed; break; fi
        kafka_python_never_asked "$log" || break
        echo "$file::$name: attempt $attempt does not count, its consumer never asked for what it had subscribed to" >&2
      done
      if grep -qE '^1 skipped' "$log"; then
        verdict=skipped
        said=$(sed -nE 's/^SKIPPED \[1\] (test\/integration\/)?//p' "$log" | reason)
      elif [ "$verdict" = failed ]; then
        said=$({ sed -nE 's/^E +(Failed: )?//p' "$log"; echo "it did not end within $((seconds + 10)) s"; } | reason)
      fi
      printf '%s\t%s\t%s\n' "$file::$name" "$verdict" "$said" >> "$directory/results.tsv"
    done
  done
}
