#!/usr/bin/env bash
# Cuts, for real: freshetd killed over a live stream, kept cuts, replays from them, an exported one, a copy put
# back, a damaged log, a full disk.
#
#   tests/integration/cuts.sh
#
# Checks that
#   1. after kills the daemon's weights are those of a replay from the beginning that obeys its decisions;
#   2. a replay from each kept cut comes to them too, and one to a kept cut's tick agrees with one from there;
#   3. an exported cut, imported elsewhere, goes on to the same weights;
#   4. an older database, a flipped byte of a journey log and a cut that is not there are refused by name;
#   5. a disk that fills up ends the daemon in order, and with room it goes on to the same weights.
# 5 needs the right to mount a file system; without it that part says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

build=$PWD/${FRESHET_BUILD:-build/release}
freshet=$build/freshet
freshetd=$build/freshetd
kafka=tests/tools/kafka/kafka
python=${FRESHET_PYTHON:-$PWD/build/venv/bin/python}
work=$(mktemp -d /tmp/freshet-cuts.XXXX)
pids=()
small=

cleanup() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  "$kafka" stop build/kafka --data "$work/kafka" 2>/dev/null || true
  wait
  [ -z "$small" ] || umount "$small" || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "cuts.sh: $*" >&2
  [ ! -f "$work/freshetd.log" ] || tail -n 30 "$work/freshetd.log" >&2
  exit 1
}

json() { "$python" -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

configuration() { # STATE_DIR RESERVE
  cat <<YAML
state_dir: $1
source: {kind: kafka, bootstrap: '$bootstrap'}
idle_timeout: 500ms
segment: 128KiB
cuts: {interval: 200ms, share: 1, keep: 4, keep_interval: 1s, reserve: $2}
model:
  name: cuts
  levels: [{experts: [32], per_task: 1, shared: 1}]
  towers: [16]
  batch: 64
  rate: {dense: 0.1, sparse: 4}
impression: {topic: impressions, framing: single_object}
actions:
  - {name: click, topic: clicks, framing: single_object, wait: 2s, window: 4s}
  - {name: purchase, topic: purchases, framing: single_object, wait: 2s, window: 4s}
slots:
  - {name: user, path: categorical.user, dimension: 16, expiry: 10s}
  - {name: item, path: categorical.item, dimension: 16, admission: 3}
  - {name: campaign, path: categorical.campaign, dimension: 16}
redis: {socket: $work/redis.sock}
YAML
}

start() { # CONFIGURATION: sets $daemon
  "$freshetd" -c "$1" 2>>"$work/freshetd.log" &
  daemon=$!
  pids+=("$daemon")
}

settled='d["lag"] == 0 and d["kinds"]["F3"] == d["topics"]["click"]["joined"] > 0'
# Waits until the daemon has read all, and every click has come to its end.
settle() { # STATE_DIR
  for _ in $(seq 300); do
    sleep 0.2
    kill -0 "$daemon" 2>/dev/null || fail "freshetd is gone"
    [ -f "$1/status.json" ] || continue
    [ "$(json "$1/status.json" "$settled")" = True ] && return
  done
  fail "not settled: $(cat "$1/status.json")"
}

stop() { # STATE_DIR: the weights
  kill -TERM "$daemon"
  wait "$daemon" || fail "freshetd exited with $?"
}

replayed() { # options...: the weights of a replay
  "$freshet" replay -c "$work/c.yaml" --quiet "$@" >"$work/replay.json" 2>"$work/replay.err" ||
    fail "replay $*: $(cat "$work/replay.err")"
  json "$work/replay.json" 'd["weights"] + " " + d["samples_fingerprint"]'
}

redis-server --port 0 --unixsocket "$work/redis.sock" --save "" --appendonly no --dir "$work" >"$work/redis.log" 2>&1 &
pids+=($!)
"$kafka" install build/kafka
bootstrap=$("$kafka" start build/kafka 0 --data "$work/kafka")
state=$work/state
configuration "$state" 1MiB >"$work/c.yaml"
stream=(--bootstrap "$bootstrap" --live --lanes 3 --rate 1500 --delay-scale 0.004 --click-window 4s --purchase-window 4s
  --late-delay 500ms --strays 0)

# ---- 1: killed over a live stream ----
"$freshet" generate "${stream[@]}" --create-topics --impressions 12000 --seed 3 >"$work/generate.log" 2>&1 &
generator=$!
pids+=("$generator")
sleep 1.5
for nap in 1.1 0.7 1.6; do
  start "$work/c.yaml"
  sleep "$nap"
  kill -9 "$daemon"
  wait "$daemon" 2>/dev/null || true
done
start "$work/c.yaml"
wait "$generator" || fail "generate"
settle "$state"
sleep 1
stop "$state"
expected=$(json "$state/status.json" 'd["weights"] + " " + d["samples_fingerprint"]')
tick=$(json "$state/status.json" 'd["tick"]')
grep -q "going on from the last cut" "$work/freshetd.log" || fail "no life went on from a cut"
[ "$(replayed --obey "$state/journal" --to "$tick")" = "$expected" ] || fail "a replay comes to other weights"
echo "killed three times: weights and samples $expected, as an undisturbed replay"

# ---- 2: kept cuts ----
kept=$(ls "$state/cuts")
[ "$(wc -w <<<"$kept")" -ge 2 ] || fail "kept cuts: $kept"
for cut in $kept; do
  [ "$(replayed --from "$cut" --to "$tick")" = "$expected" ] || fail "from cut $cut other weights come"
  "$freshet" cuts verify -c "$work/c.yaml" "$cut" >/dev/null || fail "cuts verify $cut"
done
oldest=$(head -n 1 <<<"$kept")
newest=$(sort -n <<<"$kept" | tail -n 1)
[ "$(replayed --obey "$state/journal" --to "cut:$oldest")" = "$(replayed --from "$oldest" --to "cut:$oldest")" ] ||
  fail "at cut $oldest the weights differ"
echo "from kept cuts $(tr '\n' ' ' <<<"$kept")and to them: the same weights"

# ---- 3: elsewhere ----
"$freshet" cuts export -c "$work/c.yaml" "$newest" "$work/exported" || fail "cuts export"
configuration "$work/elsewhere" 1MiB >"$work/elsewhere.yaml"
"$freshet" cuts import -c "$work/elsewhere.yaml" --live "$work/exported" || fail "cuts import"
"$freshet" generate "${stream[@]}" --impressions 1500 --seed 4 >"$work/generate.log" 2>&1 || fail "generate more"
for where in elsewhere c; do
  directory=$work/$where
  [ "$where" = c ] && directory=$state
  start "$work/$where.yaml"
  sleep 1
  settle "$directory"
  sleep 3
  stop "$directory"
done
tick=$(json "$state/status.json" 'd["tick"]')
weights=$(json "$state/status.json" 'd["weights"]')
[ "$(replayed --obey "$state/journal" --to "$tick" | cut -d' ' -f1)" = "$weights" ] ||
  fail "after more events other weights"
[ "$(json "$work/elsewhere/status.json" 'd["samples"]')" = "$(json "$state/status.json" 'd["samples"]')" ] ||
  fail "the imported cut went on to other samples"
echo "an exported cut went on elsewhere: $(json "$work/elsewhere/status.json" 'd["samples"]') samples in both"

# ---- 4: refused by name ----
refused() { # WHAT WORDS: freshetd on $work/c.yaml stops and says the words
  if timeout 20 "$freshetd" -c "$work/c.yaml" 2>"$work/refused.log"; then fail "$1 was taken"; fi
  grep -q "$2" "$work/refused.log" || fail "$1: $(tail -n 1 "$work/refused.log")"
  echo "$1: $(sed -n 's/.*level=error .* error="\([^"]*\)".*/\1/p' "$work/refused.log" | tail -n 1)"
}
cp -a "$state/db" "$work/db-old"
start "$work/c.yaml"
sleep 1.5
stop "$state"
mv "$state/db" "$work/db-new"
cp -a "$work/db-old" "$state/db"
refused "an older database" "older"
rm -rf "$state/db"
mv "$work/db-new" "$state/db"
log=$(find "$state/lanes" -name 'impression.journey.*' | sort | tail -n 1)
"$python" - "$log" <<'PYTHON'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(200)
    byte = file.read(1)
    file.seek(200)
    file.write(bytes([byte[0] ^ 1]))
PYTHON
refused "a flipped byte" "$(basename "$log")"
if "$freshet" replay -c "$work/c.yaml" --from 999999 --quiet 2>"$work/refused.log"; then
  fail "a cut that is not there was taken"
fi
grep -q 999999 "$work/refused.log" || fail "cut 999999: $(cat "$work/refused.log")"

# ---- 5: a full disk ----
mkdir "$work/small"
if mount -t tmpfs -o size=40m tmpfs "$work/small" 2>/dev/null; then
  small=$work/small
  configuration "$small/state" 12MiB >"$work/small.yaml"
  start "$work/small.yaml"
  sleep 2
  head -c 100M /dev/zero >"$small/filler" 2>/dev/null || true
  ended=0
  wait "$daemon" || ended=$?
  [ "$ended" = 1 ] || fail "on a full disk freshetd exited with $ended"
  grep -q "nearly full" "$work/freshetd.log" || fail "a full disk: $(tail -n 2 "$work/freshetd.log")"
  rm "$small/filler"
  start "$work/small.yaml"
  settle "$small/state"
  sleep 3
  stop "$small/state"
  tick=$(json "$small/state/status.json" 'd["tick"]')
  expected=$(json "$small/state/status.json" 'd["weights"] + " " + d["samples_fingerprint"]')
  [ "$(replayed --obey "$small/state/journal" --to "$tick")" = "$expected" ] ||
    fail "after a full disk other weights"
  echo "a full disk: stopped in order, went on to the weights of an undisturbed replay"
else
  echo "a full disk: NOT RUN, it needs the right to mount"
fi
echo "ok"
