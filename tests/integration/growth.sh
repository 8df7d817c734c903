#!/usr/bin/env bash
# A slot, a numeric input and a task for a daemon that has learned: a real Kafka, a Redis, freshetd, readers.
#
#   tests/integration/growth.sh
#
# Checks that
#   1. freshetd restarted with more of each says what is new, keeps every row, and publishes a base of its own;
#   2. what it predicts of the same impressions is the same, to the last digit, though they have the new columns;
#   3. killed before and after its first cut it goes on, and learns from what comes, the new task too;
#   4. a replay from a cut before it, with the settings as they were, comes to the weights of then;
#   5. what is no growth is refused by name, and the state is left as it was.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

build=$PWD/${FRESHET_BUILD:-build/release}
freshet=$build/freshet
freshetd=$build/freshetd
kafka=tests/tools/kafka/kafka
python=${FRESHET_PYTHON:-$PWD/build/venv/bin/python}
work=$(mktemp -d /tmp/freshet-growth.XXXX)
pids=()

cleanup() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  "$kafka" stop build/kafka --data "$work/kafka" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "growth.sh: $*" >&2
  [ ! -f "$work/freshetd.log" ] || tail -n 30 "$work/freshetd.log" >&2
  exit 1
}

configuration() { # SLOTS NUMERICS FURTHER_ACTIONS
  cat <<YAML
state_dir: $work/state
source: {kind: kafka, bootstrap: '$bootstrap'}
idle_timeout: 300ms
orphan_timeout: 2s
cuts: {interval: 1s, share: 1, keep: 100, keep_interval: 1s}
model:
  name: growth
  levels: [{experts: [32], per_task: 1, shared: 1}]
  towers: [16]
  batch: 64
  rate: {dense: 0.1, sparse: 1}
impression: {topic: impressions, framing: single_object}
actions:
  - {name: click, topic: clicks, framing: single_object, wait: 2s, window: 4s}
$3
slots:
$1
  - {name: user, path: categorical.user, dimension: 16}
  - {name: item, path: categorical.item, dimension: 16}
numerics: [$2]
redis: {socket: $work/redis.sock}
YAML
}

start() { # sets $daemon
  rm -f "$work/state/status.json"
  "$freshetd" -c "$work/c.yaml" 2>>"$work/freshetd.log" &
  daemon=$!
  pids+=("$daemon")
}

# Waits until the status satisfies a Python expression.
await() { # EXPRESSION
  for _ in $(seq 300); do
    sleep 0.1
    kill -0 "$daemon" 2>/dev/null || fail "freshetd is gone"
    [ -f "$work/state/status.json" ] || continue
    [ "$(status "$1")" = True ] && return
  done
  fail "waited in vain for $1: $(cat "$work/state/status.json")"
}

status() { # EXPRESSION
  "$python" -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' \
    "$work/state/status.json" "$1"
}

stop() {
  kill -TERM "$daemon"
  wait "$daemon" || fail "freshetd exited with $?"
}

# "impression_id probability of a click" of 200 impressions, from Redis.
score() {
  "$freshet" score -c "$work/c.yaml" --avro "$work/files/impressions/0.avro" >"$work/scores" 2>"$work/score.log"
  head -n 200 "$work/scores" | "$python" -c 'import json,sys
for line in sys.stdin:
    d = json.loads(line)
    print(d["impression_id"], next(task for task in d["tasks"] if task["name"] == "click"))'
}

redis-server --port 0 --unixsocket "$work/redis.sock" --save "" --appendonly no --dir "$work" >"$work/redis.log" 2>&1 &
pids+=($!)
"$kafka" install build/kafka >"$work/kafka.log"
bootstrap=$("$kafka" start build/kafka 0 --data "$work/kafka")
stream=(--lanes 2 --rate 200 --delay-scale 0.004 --click-window 4s --purchase-window 4s --late-delay 500ms --strays 0)
begin=1700000000000
generate() { # SEED START
  "$freshet" generate "${stream[@]}" --bootstrap "$bootstrap" --create-topics --impressions 6000 --seed "$1" \
    --start "$2" >>"$work/generate.log" 2>&1 || fail "generate: $(tail -n 3 "$work/generate.log")"
}
generate 3 "$begin"
"$freshet" generate "${stream[@]}" --files "$work/files" --impressions 2000 --seed 3 --start "$begin" \
  >"$work/generate.log" 2>&1

# ---- it has learned ----
configuration "" "" "" >"$work/c.yaml"
start
await 'd["lag"] == 0 and d["kinds"]["N0"] + d["kinds"]["C1"] == d["topics"]["impression"]["joined"] > 5000'
stop
rows=$(status 'd["rows"]')
samples=$(status 'd["samples"]')
weights=$(status 'd["weights"]')
tick=$(status 'd["tick"]')
cp "$work/c.yaml" "$work/small.yaml"
score >"$work/before"

# A reader in Python, which holds what there is and follows.
PYTHONPATH=publisher/python "$python" - "$work/redis.sock" >"$work/python.log" 2>&1 <<'PY' &
import sys, redis, freshet
reader = freshet.Reader(redis.Redis(unix_socket_path=sys.argv[1]), "growth")
names = set()
while "brand" not in names:
    if reader.follow(30.0):
        names = {slot["name"] for slot in reader.model.descriptor["slots"]}
        print(reader.version, sorted(names), reader.model.tasks, flush=True)
PY
follower=$!
pids+=("$follower")
for _ in $(seq 100); do
  grep -q "'item', 'user'\] \['click'\]" "$work/python.log" && break
  sleep 0.1
done
grep -q "'item', 'user'\] \['click'\]" "$work/python.log" || fail "the reader in Python: $(cat "$work/python.log")"
[ "$(wc -l <"$work/before")" = 200 ] || fail "no scores: $(cat "$work/score.log")"

# ---- 5, first: what is no growth leaves all as it was ----
refused() { # WORDS
  local status=0
  "$freshetd" -c "$work/c.yaml" 2>"$work/refused.log" || status=$?
  [ "$status" = 1 ] || fail "exit $status where '$1' was expected"
  grep -q "$1" "$work/refused.log" || fail "the log does not say '$1': $(tail -n 2 "$work/refused.log")"
}
stage="  - {name: purchase, topic: purchases, framing: single_object, wait: 2s, window: 4s}"
configuration "" "" "$stage" >"$work/c.yaml"
refused "purchase is new and a stage of the funnel"
configuration "" "" "" | sed '/name: item/d' >"$work/c.yaml"
refused "the model has no slot item"
echo "refused by name: a longer funnel, a slot that is gone"

# ---- 1 and 2: more of each, and nothing new to read ----
brand="  - {name: brand, path: categorical.brand, dimension: 8}"
side="  - {name: purchase, side: true, parent: impression, topic: purchases, framing: single_object, wait: 2s,
     window: 8s}"
configuration "$brand" "{name: price, path: numeric.price, log1p: true}" "$side" >"$work/c.yaml"
sed -i 's/interval: 1s/interval: 1h/' "$work/c.yaml"
start # this life makes no cut
await 'd["lag"] == 0'
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
sed -i 's/interval: 1h/interval: 1s/' "$work/c.yaml"
lines=$(wc -l <"$work/freshetd.log")
start
# The old purchases find nobody and expire: a tick that teaches nothing, after which there is a version.
await 'bool(d["version"])'
tail -n "+$((lines + 1))" "$work/freshetd.log" >"$work/life.log"
for words in 'a slot is new.*brand' 'a numeric input is new.*price' 'a task is new.*purchase' \
  'an action is new.*purchases'; do
  grep -q "$words" "$work/life.log" || fail "the log does not say: $words"
done
wait "$follower" || fail "the reader in Python: $(cat "$work/python.log")"
grep -q "'brand', 'item', 'user'\] \['click', 'purchase'\]" "$work/python.log" || fail "$(cat "$work/python.log")"
[ "$(status 'd["rows"]')" = "$rows" ] || fail "$(status 'd["rows"]') rows of $rows"
[ "$(status 'd["samples"]')" = "$samples" ] || fail "it has learned already"
score >"$work/after"
cmp "$work/before" "$work/after" || fail "other predictions of the same impressions"
"$freshet" score -c "$work/c.yaml" --avro "$work/files/impressions/0.avro" >"$work/scores" 2>/dev/null
grep -q '"purchase"' "$work/scores" || fail "the version does not know the new task"
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
echo "grown: $rows rows kept, 200 predictions of impressions with a brand and a price the same"

# ---- 3: it learns on ----
generate 4 $((begin + 120000))
start
await 'd["samples"] > '"$samples"' + 1000'
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
start
await 'd["lag"] == 0 and d["samples"] > '"$samples"' + 3000 and d["topics"]["purchase"]["joined"] > 20'
[ "$(status 'd["rows"]')" -gt "$rows" ] || fail "no row came"
stop
score >"$work/later"
cmp -s "$work/before" "$work/later" && fail "nothing was learned"
lines=$(wc -l <"$work/freshetd.log")
start
await 'd["lag"] == 0'
stop
if tail -n "+$((lines + 1))" "$work/freshetd.log" | grep -q 'is new'; then fail "what is known is told as new"; fi
joined=$(status 'd["topics"]["purchase"]["joined"]')
echo "killed, went on: $(status 'd["samples"]') samples, $joined purchases of the new task"

# ---- 4: the time before it ----
oldest=$(find "$work/state/cuts" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | head -n 1)
newest=$(find "$work/state/cuts" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | tail -n 1)
"$freshet" replay -c "$work/small.yaml" --from "$oldest" --to "$tick" --quiet >"$work/replay.json" \
  2>"$work/replay.err" ||
  fail "replay --from $oldest: $(cat "$work/replay.err")"
grep -q "\"weights\": \"$weights\"" "$work/replay.json" || fail "not the weights of then: $(cat "$work/replay.json")"
"$freshet" cuts verify -c "$work/small.yaml" "$oldest" >/dev/null || fail "cuts verify $oldest"
"$freshet" cuts verify -c "$work/c.yaml" "$newest" >/dev/null || fail "cuts verify $newest"
echo "from cut $oldest to tick $tick with the old settings: the weights of then"
echo "growth.sh: good"
