# Sourced by the scripts beside it: S3 servers of different make on the loopback, fetched by the package managers of their languages.
#
# Each server: NAME_missing prints what is missing (nothing if it can run); NAME_setup fetches or builds it, once; NAME_command PORT
# DIRECTORY prints the command, quoted for a shell, that serves objects below DIRECTORY until SIGTERM; NAME_answers PORT says whether it
# serves; NAME_version names what runs. start_server starts one.
#
# Their users have the key and secret of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as the clients started beside them.
export AWS_ACCESS_KEY_ID=siltstone AWS_SECRET_ACCESS_KEY=siltstone-local AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
servers_cache=${XDG_CACHE_HOME:-$HOME/.cache}/siltstone/stores
mkdir -p "$servers_cache/bin"

# MinIO's repository is archived and publishes neither binaries nor images any more; the Go module proxy has its last state. deploy/minio
# pins the same.
minio_release=v0.0.0-20260212201848-7aac2a2c5b7c
versitygw_release=v1.8.0
moto_release=5.2.1

# go_program NAME PACKAGE@VERSION: builds it unless this version has been built before.
go_program() {
  local name=$1 package=$2
  [ "$(cat "$servers_cache/bin/$name.version" 2> /dev/null)" != "$package" ] || return 0
  echo "building $package: minutes, once" >&2
  CGO_ENABLED=0 GOBIN=$servers_cache/bin go install -trimpath -ldflags='-s -w' "$package" || return 1
  echo "$package" > "$servers_cache/bin/$name.version"
}
go_missing() { command -v go > /dev/null || echo "go (https://go.dev/dl)"; }

minio_missing() { go_missing; }
minio_setup() { go_program minio "github.com/minio/minio@$minio_release"; }
minio_version() { echo "MinIO $minio_release"; }
# CI=true would change what it does.
minio_command() {
  printf '%q ' env -u CI MINIO_ROOT_USER="$AWS_ACCESS_KEY_ID" MINIO_ROOT_PASSWORD="$AWS_SECRET_ACCESS_KEY" MINIO_UPDATE=off MINIO_CI_CD=1 \
    "$servers_cache/bin/minio" server --quiet --address "127.0.0.1:$1" --console-address "127.0.0.1:$(free_port)" "$2"
}
minio_answers() { answers "$1" /minio/health/ready; }

versitygw_missing() { go_missing; }
versitygw_setup() { go_program versitygw "github.com/versity/versitygw/cmd/versitygw@$versitygw_release"; }
versitygw_version() { echo "versitygw $versitygw_release"; }
# Keeps what it knows of an object in extended attributes of its file: the directory's file system must have them.
versitygw_command() {
  printf '%q ' env ROOT_ACCESS_KEY="$AWS_ACCESS_KEY_ID" ROOT_SECRET_KEY="$AWS_SECRET_ACCESS_KEY" "$servers_cache/bin/versitygw" \
    --port "127.0.0.1:$1" --region "$AWS_REGION" posix "$2"
}
versitygw_answers() { listens "$1"; }

moto_missing() { python3 -c 'import venv, ensurepip' 2> /dev/null || echo "python3 with venv (apt-get install python3-venv)"; }
moto_setup() {
  [ -x "$servers_cache/moto/bin/python" ] || python3 -m venv "$servers_cache/moto"
  "$servers_cache/moto/bin/pip" install --quiet --disable-pip-version-check "moto[server]==$moto_release"
}
moto_version() { echo "moto $moto_release"; }
# In memory, and believes every signature.
moto_command() { printf '%q ' "$servers_cache/moto/bin/moto_server" -H 127.0.0.1 -p "$1"; }
moto_answers() { listens "$1"; }

# start_server NAME PORT DIRECTORY: starts it in a session of its own, so that Ctrl-C in a terminal stops what uses it first; sets server to
# its pid.
start_server() {
  mkdir -p "$3"
  (eval "exec setsid $("$1_command" "$2" "$3")") > "$3.log" 2>&1 &
  server=$!
  await "$server" "$3.log" "$1_answers" "$2"
}

# answers PORT PATH: whether an HTTP server says 200 to it.
answers() (
  exec 3<> "/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
  read -r _ status _ <&3
  [ "$status" = 200 ]
)
