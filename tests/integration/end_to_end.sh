#!/usr/bin/env bash
# The whole path for real: a Kafka broker, a Redis, freshetd and the reader library.
#
#   tests/integration/end_to_end.sh [IMPRESSIONS]     default 100000; the long form is 2000000
#
# Generates a stream to Kafka (8 partitions) and, by the same seed, to files, and checks that
#   1. files and Kafka, 1 and 2 workers, and other fetch sizes end with the same weights and the same counts, and
#      what was generated is what was read;
#   2. the counts are the batch oracle's, so that every positive is counted once;
#   3. the daemon reads a live stream without lag, and its newest version is in Redis within the freshness that
#      `freshet check` prints;
#   4. what `freshet score` says, from Redis, names that version; a daemon that is asked to stop exits with 0.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

impressions=${1:-100000}
freshet=$PWD/build/release/freshet
freshetd=$PWD/build/release/freshetd
kafka=tests/tools/kafka/kafka
python=$PWD/build/venv/bin/python
work=$(mktemp -d /tmp/freshet-e2e.XXXX)
pids=()

cleanup() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  "$kafka" stop build/kafka --data "$work/kafka" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "end_to_end.sh: $*" >&2
  for file in "$work"/*.log; do [ -f "$file" ] && tail -n 20 "$file" >&2; done
  exit 1
}

# A number or string of a JSON file: json FILE EXPRESSION, over d.
json() { "$python" -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

# What a replay counted, as one line: all that it printed but the times, the rates and Redis' part.
counts() {
  json "$1" 'json.dumps({k: v for k, v in d.items() if k not in ("time_ms", "seconds", "version", "freshness_ms",
    "source") and not k.endswith("_per_s") and not k.startswith("publi") and not k.startswith("watermark")})'
}

# A configuration: configuration KIND TOPIC_PREFIX CLICK_WAIT CLICK_WINDOW PURCHASE_WAIT PURCHASE_WINDOW
configuration() {
  local source="{kind: files, path: $work/files}" framing=bare
  if [ "$1" = kafka ]; then
    source="{kind: kafka, bootstrap: '$bootstrap'}" framing=single_object
  fi
  cat <<YAML
state_dir: $work/state-$1$2
source: $source
idle_timeout: 2s
model:
  name: end-to-end$2
  levels: [{experts: [64, 32], per_task: 2, shared: 2}, {experts: [32], per_task: 2, shared: 2}]
  towers: [16]
  batch: 64
  rate: {dense: 0.1, sparse: 4}
impression: {topic: $2impressions, framing: $framing}
actions:
  - {name: click, topic: $2clicks, framing: $framing, wait: $3, window: $4}
  - {name: purchase, topic: $2purchases, framing: $framing, wait: $5, window: $6}
slots:
$(for slot in user item campaign category brand segment position device page city price_band; do
    echo "  - {name: $slot, path: categorical.$slot, dimension: 16}"
  done)
numerics: [{name: quality, path: numeric.quality}, {name: price, path: numeric.price}]
redis: {socket: $work/redis.sock}
YAML
}

redis-server --port 0 --unixsocket "$work/redis.sock" --save "" --appendonly no --dir "$work" >"$work/redis.log" 2>&1 &
pids+=($!)
"$kafka" install build/kafka
bootstrap=$("$kafka" start build/kafka 0 --data "$work/kafka")

# ---- 1: the same weights however the stream is read ----
stream=(--impressions "$impressions" --lanes 8 --seed 21 --rate 100 --delay-scale 0.05 --purchase-window 2h)
"$freshet" generate --files "$work/files" "${stream[@]}" | tee "$work/generated-files.json"
"$freshet" generate --bootstrap "$bootstrap" --create-topics "${stream[@]}" | tee "$work/generated-kafka.json"
waits=(2m 10m 10m 2h)
configuration files "" "${waits[@]}" >"$work/files.yaml"
configuration kafka "" "${waits[@]}" >"$work/kafka.yaml"
replay() { # NAME CONFIGURATION options...
  local name=$1 config=$2
  shift 2
  "$freshet" replay -c "$work/$config.yaml" --quiet "$@" >"$work/$name.json" || fail "replay $name"
  echo "$name: $(json "$work/$name.json" \
    '"{events} events, {dead_letters} dead, {samples} samples, weights {weights}, {seconds:.1f} s".format(**d)')"
}
same() { # NAME OTHER: the same weights, and the same counts, which tell more (a lost orphan changes no weight)
  [ "$(json "$work/$1.json" 'd["weights"]')" = "$(json "$work/$2.json" 'd["weights"]')" ] ||
    fail "$1 and $2 end with different weights"
  counts "$work/$1.json" >"$work/counts-1"
  counts "$work/$2.json" >"$work/counts-2"
  cmp -s "$work/counts-1" "$work/counts-2" ||
    fail "$1 and $2 count differently: $(cat "$work/counts-1" "$work/counts-2")"
}
replay files files --finish
replay files-workers-2 files --finish --workers 2
replay files-fetch-7 files --finish --fetch 7
replay kafka kafka --finish
replay kafka-workers-2 kafka --finish --workers 2
for name in files-workers-2 files-fetch-7 kafka kafka-workers-2; do
  same "$name" files
done
for name in files kafka; do
  [ "$(json "$work/$name.json" 'd["lag"]')" = 0 ] || fail "$name: lag is left"
  for pair in impression:impressions click:clicks purchase:purchases; do
    read=$(json "$work/$name.json" "d['topics']['${pair%:*}']['events']")
    [ "$read" = "$(json "$work/generated-$name.json" "d['${pair#*:}']")" ] ||
      fail "$name: $read ${pair#*:} were read, but not as many generated: $(cat "$work/generated-$name.json")"
  done
  [ "$(json "$work/$name.json" 'd["dead_letters"]')" = 0 ] || fail "$name: dead letters"
done
# Without --finish, up to the stream's end: what may be published.
replay files-end files
replay kafka-end kafka --publish
same kafka-end files-end
[ "$(json "$work/kafka-end.json" 'd["version"] is not None')" = True ] || fail "nothing was published"

# ---- 2: the oracle's counts ----
"$python" tests/oracle/oracle.py "$work/files" --click-wait "${waits[0]}" --click-window "${waits[1]}" \
  --purchase-wait "${waits[2]}" --purchase-window "${waits[3]}" --replay "$work/kafka.json" >"$work/oracle.json" ||
  fail "the oracle counts otherwise"
echo "oracle: $(json "$work/oracle.json" 'd["kinds"]')"

# ---- 3: the daemon on a live stream ----
configuration kafka live- 3s 10s 5s 20s >"$work/live.yaml"
sed -i 's/^idle_timeout.*/idle_timeout: 1s/' "$work/live.yaml"
# What check promises, the wait for a partition that has nothing to say included: a topic of few events waits for it.
"$freshet" check -c "$work/live.yaml" >"$work/check.txt"
promised_ms=$("$python" - "$work/check.txt" <<'PYTHON'
import re, sys
units = {"ms": 1, "s": 1000, "m": 60000}
text = open(sys.argv[1]).read()
spans = re.search(r"from due to published about (\S+)", text)[1], re.search(r"idle partition up to (\S+) more", text)[1]
print(sum(int(n) * units[u] for span in spans for n, u in re.findall(r"(\d+)(ms|s|m)", span)))
PYTHON
)
"$freshet" generate --bootstrap "$bootstrap" --create-topics --topics live-impressions,live-clicks,live-purchases \
  --live --impressions 30000 --rate 2000 --lanes 8 --seed 5 --delay-scale 0.02 --click-window 10s \
  --purchase-window 20s --late-delay 2s >"$work/generate.log" 2>&1 &
generator=$!
pids+=("$generator")
for _ in $(seq 100); do
  "$kafka" topics build/kafka list --data "$work/kafka" | grep -q live-purchases && break
  sleep 0.1
done
"$freshetd" -c "$work/live.yaml" 2>"$work/freshetd.log" &
daemon=$!
pids+=("$daemon")
status="$work/state-kafkalive-/status.json"
sleep 10
worst=0
for _ in $(seq 8); do
  sleep 0.5
  fresh=$(json "$status" 'd["freshness_ms"] if d["freshness_ms"] is not None else 10**9')
  [ "$fresh" -le "$worst" ] || worst=$fresh
done
echo "freshness: worst of 8 looks $worst ms, promised $promised_ms ms"
[ "$worst" -le "$promised_ms" ] || fail "not as fresh as promised"
wait "$generator" || fail "generate --live"
for _ in $(seq 60); do
  sleep 1
  [ "$(json "$status" 'd["lag"] == 0 and d["kinds"]["F3"] == d["topics"]["click"]["joined"]')" = True ] && break
done
echo "live: $(json "$status" '"{events} events, {samples} samples, lag {lag}, kinds {kinds}".format(**d)')"
[ "$(json "$status" 'd["lag"]')" = 0 ] || fail "the daemon lags"
[ "$(json "$status" 'd["kinds"]["F3"] == d["topics"]["click"]["joined"]')" = True ] ||
  fail "not every click came to its end"
paid='d["kinds"]["N0"] + d["topics"]["click"]["joined"] - d["kinds"]["L"]'
[ "$(json "$status" "d['topics']['impression']['joined'] == $paid")" = True ] ||
  fail "an impression was paid twice or never"

# ---- 4: scores from Redis ----
kill -TERM "$daemon"
wait "$daemon" || fail "freshetd exited with $?"
version=$(json "$status" 'd["version"]')
echo '{"impression_id": "x", "categorical": {"item": ["1"], "campaign": ["2"]}, "numeric": {"price": 1.5}}' |
  "$freshet" score --socket "$work/redis.sock" --model end-to-endlive- >"$work/score.json" || fail "score"
cat "$work/score.json"
[ "$(json "$work/score.json" 'd["version"]')" = "$version" ] || fail "Redis does not hold the daemon's last version"
"$freshet" score --socket "$work/redis.sock" --model end-to-end --avro "$work/files/impressions/0.avro" \
  >"$work/scores.json" || fail "score --avro"
[ "$(wc -l <"$work/scores.json")" -gt $((impressions / 16)) ] || fail "score --avro left impressions out"
"$freshet" versions --socket "$work/redis.sock" --model end-to-endlive- >"$work/versions.txt" || fail "versions"
grep -q "^head *$version" "$work/versions.txt" || fail "versions names another head"
echo "ok"
