#!/usr/bin/env bash
# freshetd as a service manager sees it: exit statuses, what arrives at NOTIFY_SOCKET, the status file, a Redis
# that comes late, SIGTERM, SIGKILL, two daemons. Takes about 20 seconds. Every step waits for a state: nothing rests
# on how fast this machine is.
#
#   tests/integration/freshetd.sh     needs build/release, python3, redis-server and a Kafka in build/kafka
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

freshetd=$PWD/build/release/freshetd
kafka=tests/tools/kafka/kafka
work=$(mktemp -d /tmp/freshet-d.XXXX)
pids=()

cleanup() {
  local pid
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  "$kafka" stop build/kafka --data "$work/kafka" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "freshetd.sh: $*" >&2
  for file in "$work"/*.log "$work"/notified; do [ -f "$file" ] && tail -n 20 "$file" >&2; done
  exit 1
}

# Waits up to 15 s until the command that follows the name succeeds.
await() {
  local name=$1 i
  shift
  for ((i = 0; i < 150; i++)); do
    "$@" && return
    sleep 0.1
  done
  fail "waited in vain: $name"
}

# What the daemon does with records of Kafka is end_to_end.sh's. The model is so wide that training takes a while.
configuration() { # SOURCE
  cat <<YAML
state_dir: $work/state
source: $1
model:
  name: freshetd
  levels: [{experts: [512, 256], per_task: 1, shared: 1}]
  towers: [16]
  batch: 64
impression: {topic: impressions, framing: bare}
actions:
  - {name: click, topic: clicks, framing: bare, wait: 2m, window: 10m}
  - {name: purchase, topic: purchases, framing: bare, wait: 10m, window: 2h}
slots: [{name: user, path: categorical.user, dimension: 16}, {name: item, path: categorical.item, dimension: 16}]
redis: {socket: $work/redis.sock, timeout: 500ms}
YAML
}

start_redis() {
  redis-server --port 0 --unixsocket "$work/redis.sock" --save "" --dir "$work" >"$work/redis.log" 2>&1 &
  pids+=($!)
  await "Redis" test -S "$work/redis.sock"
}

# Starts freshetd on $work/d.yaml under the manager; $daemon is its pid.
start_freshetd() {
  NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=1000000 "$freshetd" -c "$work/d.yaml" 2>>"$work/freshetd.log" &
  daemon=$!
  pids+=("$daemon")
}

# Waits for $daemon's end: ended STATUS WHAT
ended() {
  local status=0
  wait "$daemon" || status=$?
  [ "$status" = "$1" ] || fail "exit status $status: $2"
}

# ---- the configuration is wrong: 78, and where ----
configuration "{kind: files, path: $work/files}" | sed 's/batch: 64/batch: many/' >"$work/bad.yaml"
status=0
"$freshetd" -c "$work/bad.yaml" 2>"$work/bad.log" || status=$?
[ "$status" = 78 ] || fail "exit $status for a wrong configuration"
grep -q "bad.yaml:7:10: model.batch" "$work/bad.log" || fail "no file:line:column"
status=0
"$freshetd" 2>/dev/null || status=$?
[ "$status" = 2 ] || fail "exit $status for wrong usage"

# ---- the manager: one line a datagram ----
python3 - "$work/notify" "$work/notified" <<'PY' &
import socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
with open(sys.argv[2], "w", buffering=1) as out:
    while True:
        out.write(listener.recv(8192).decode().replace("\n", " ") + "\n")
PY
pids+=($!)
await "the manager" test -S "$work/notify"

# ---- a stream without end: a broker whose topics stay empty; READY waits for Redis ----
"$kafka" install build/kafka >"$work/kafka.log"
bootstrap=$("$kafka" start build/kafka 0 --data "$work/kafka")
for topic in impressions clicks purchases; do
  "$kafka" topics build/kafka create "$topic" 2 --data "$work/kafka" >>"$work/kafka.log" 2>&1
done
configuration "{kind: kafka, bootstrap: '$bootstrap'}" >"$work/d.yaml"
start_freshetd
await "status.json" test -s "$work/state/status.json"
grep -q READY=1 "$work/notified" && fail "READY without Redis"
start_redis
await "READY=1" grep -q READY=1 "$work/notified"
await "STATUS=" grep -q STATUS=lag "$work/notified"
await "WATCHDOG=1" grep -q WATCHDOG=1 "$work/notified"
await "the source's numbers" grep -q '"brokers_up": 1' "$work/state/status.json"

# ---- SIGKILL leaves nothing that the next start minds ----
kill -KILL "$daemon"
ended 137 "SIGKILL"
lines=$(wc -l <"$work/notified")
start_freshetd
again() { tail -n "+$((lines + 1))" "$work/notified" | grep -c READY=1 >/dev/null; }
await "READY=1 after SIGKILL" again

# ---- SIGTERM: STOPPING=1, exit 0 ----
kill -TERM "$daemon"
ended 0 "after SIGTERM"
await "STOPPING=1" grep -q STOPPING=1 "$work/notified"

# ---- SIGTERM in the middle of files (or at their end, if this machine is that fast): what was learned is there ----
rm -rf "$work/state"
"$PWD/build/release/freshet" generate --files "$work/files" --impressions 60000 --lanes 2 --seed 5 --rate 100 \
  --delay-scale 0.05 --purchase-window 2h 2>/dev/null
configuration "{kind: files, path: $work/files}" >"$work/d.yaml"
start_freshetd
learned() { grep -q '"samples": [1-9]' "$work/state/status.json" 2>/dev/null; }
await "samples" learned
kill -TERM "$daemon" 2>/dev/null || true
ended 0 "after SIGTERM in the middle of files"

# ---- the last status: JSON with every key of the page ----
python3 - "$work/state/status.json" docs/STATUS.md <<'PY' || fail "status.json"
import json, re, sys
status = json.load(open(sys.argv[1]))
page = open(sys.argv[2]).read().split("\n## ")[0]
keys = {key for row in re.findall(r"^\| (`.*?) \|", page, re.M) for key in re.findall(r"`(\w+)`", row)}
missing = keys - {"weights", "seconds"} - set(status)
assert not missing, missing
assert status["version"] and status["publication_error"] is None, status
PY

# ---- Files to their end: exit 0, and the rates of a run that was shorter than a status interval ----
rm -rf "$work/files" "$work/state"
"$PWD/build/release/freshet" generate --files "$work/files" --impressions 2000 --lanes 2 --seed 6 --rate 100 \
  --delay-scale 0.05 --purchase-window 2h 2>/dev/null
sed -i 's/name: freshetd/name: short/' "$work/d.yaml"
start_freshetd
ended 0 "at the files' end"
python3 - "$work/state/status.json" <<'PY' || fail "the last status"
import json, sys
status = json.load(open(sys.argv[1]))
assert status["lag"] == 0 and status["version"], status
assert status["samples_per_s"] > 50, status["samples_per_s"]
PY

# ---- Files to their end, but no Redis: READY never, and not a success ----
rm -rf "$work/state"
redis-cli -s "$work/redis.sock" shutdown nosave 2>/dev/null || true
lines=$(wc -l <"$work/notified")
start_freshetd
status=0
"$PWD/build/release/freshet" replay -c "$work/d.yaml" --publish --quiet >"$work/replay.json" \
  2>"$work/replay.log" || status=$?
[ "$status" = 1 ] || fail "replay --publish without Redis: exit status $status"
grep -q "the last state is not published" "$work/replay.log" || fail "replay does not say what is lost"
ended 1 "at the files' end without Redis"
again && fail "READY without Redis"
grep -q "the last state is not published" "$work/freshetd.log" || fail "the log does not say what is lost"

# ---- SIGTERM while the broker is waited for: at once, exit 0 ----
rm -rf "$work/state"
configuration "{kind: kafka, bootstrap: '127.0.0.1:1', timeout: 10m}" >"$work/d.yaml"
start_freshetd
await "the lock" test -s "$work/state/LOCK"
kill -TERM "$daemon"
begin=$SECONDS
ended 0 "SIGTERM while starting"
[ $((SECONDS - begin)) -le 5 ] || fail "SIGTERM while starting waited for the broker"
await "STOPPING=1 of a start that was ended" sh -c 'tail -n 1 "$0" | grep -q STOPPING=1' "$work/notified"
grep -q "asked to stop before the start" "$work/freshetd.log" || fail "the log does not tell the end of the start"

# ---- two daemons on one state directory ----
start_freshetd
await "the lock" grep -q "^$daemon\$" "$work/state/LOCK"
first=$daemon
start_freshetd
ended 1 "a second daemon on the state directory"
grep -q "another process (pid $first) uses $work/state" "$work/freshetd.log" || fail "the log does not name the first"
daemon=$first
kill -INT "$daemon"
ended 0 "SIGINT while starting"

# ---- a state directory that cannot be: 1, and the log names it ----
sed -i "s|state_dir: .*|state_dir: $work/none/state|" "$work/d.yaml"
start_freshetd
ended 1 "without a state directory"
grep -q "$work/none/state" "$work/freshetd.log" || fail "the log does not name the state directory"
echo "freshetd.sh: good"
