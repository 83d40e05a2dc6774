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

# start_siltstone PROGRAM [SETTING…]: an empty broker on a port of the system's choice, said in its ready line; sets siltstone to its address.
start_siltstone() {
  local program=$1 dir=$work/siltstone-$RANDOM$RANDOM setting settings=()
  shift
  for setting in metadata.listen=127.0.0.1:0 "$@"; do settings+=(--set "$setting"); done
  "$program" serve --data-dir "$dir" --listen PLAINTEXT://127.0.0.1:0 --http 127.0.0.1:0 "${settings[@]}" > "$dir.ready" 2> "$dir.log" &
  children+=($!)
  await $! "$dir.log" grep -q 'PLAINTEXT://127\.0\.0\.1:' "$dir.ready"
  siltstone=$(sed -nE 's,.*PLAINTEXT://(127\.0\.0\.1:[0-9]+).*,\1,p' "$dir.ready" | head -n 1)
}
