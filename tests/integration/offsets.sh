#!/usr/bin/env bash
# offsets.sh - freshet replay over explicit offsets: source.offsets and source.ends, against a real broker.
#
# A stream replayed whole, then cut in the middle of its partitions at either end: as many records are read as lie
# between the offsets. And what is refused: more or fewer partitions than the topics have, an offset beyond the log,
# ends for the daemon. About ten seconds. Exits non-zero at the first thing that is wrong.
#
# Environment: FRESHET_KAFKA, where the broker's jars are or go (build/kafka); FRESHET_BUILD, a build directory
# whose programs are tested (build/release).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

build=${FRESHET_BUILD:-build/release}
jars=${FRESHET_KAFKA:-$PWD/build/kafka}
kafka=tests/tools/kafka/kafka
python=$PWD/build/venv/bin/python
work=$(mktemp -d /tmp/freshet-offsets.XXXX)

cleanup() {
  "$kafka" stop "$jars" --data "$work/kafka" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "offsets.sh: $*" >&2
  for file in "$work"/*.log; do [ -f "$file" ] && tail -n 5 "$file" >&2; done
  exit 1
}

# A number of a JSON file: json FILE EXPRESSION, over d.
json() { "$python" -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

# $work/NAME.yaml with further settings of the source: configuration NAME SETTINGS
configuration() {
  cat >"$work/$1.yaml" <<YAML
state_dir: $work/state
source: {kind: kafka, bootstrap: '$bootstrap', $2}
impression: {framing: single_object}
actions:
  - {name: click, topic: clicks, framing: single_object, wait: 2m, window: 10m}
  - {name: purchase, topic: purchases, framing: single_object, wait: 10m, window: 2h}
model: {levels: [{experts: [16]}], towers: [16], batch: 64}
slots: [{name: item, path: categorical.item}]
redis: {socket: $work/redis.sock}
YAML
}

# Replays NAME; its records, those set aside included, must be EXPECTED.
replay() {
  timeout 30 "$build/freshet" replay -c "$work/$1.yaml" --quiet >"$work/$1.json" 2>"$work/$1.log" ||
    fail "replay $1 exited with $?"
  local read
  read=$(json "$work/$1.json" 'd["events"] + d["dead_letters"]')
  echo "$1: $read records"
  [ "$read" = "$2" ] || fail "replay $1 read $read records, not $2"
  [ "$(json "$work/$1.json" 'd["lag"]')" = 0 ] || fail "replay $1 leaves records behind"
}

# PROGRAM... must exit with STATUS and say TEXT: refused STATUS TEXT PROGRAM...
refused() {
  local status=0
  timeout 30 "${@:3}" >"$work/refused.log" 2>&1 || status=$?
  [ "$status" = "$1" ] || fail "${*:3} exited with $status, not $1"
  grep -qF "$2" "$work/refused.log" || fail "${*:3} does not say \"$2\""
  echo "refused: $(grep -F "$2" "$work/refused.log")"
}

"$kafka" install "$jars"
bootstrap=$("$kafka" start "$jars" 0 --data "$work/kafka")
"$build/freshet" generate --bootstrap "$bootstrap" --create-topics --impressions 10000 --lanes 3 --seed 4 --rate 100 \
  --delay-scale 0.05 --purchase-window 2h

# How many records each partition holds, and the cuts: from a third of it, to two thirds.
"$kafka" tool "$jars" --data "$work/kafka" org.apache.kafka.tools.GetOffsetShell \
  --topic 'impressions|clicks|purchases' >"$work/offsets.txt" || fail "GetOffsetShell"
"$python" - "$work/offsets.txt" >"$work/plan" <<'PYTHON'
import sys
logs = {}
for line in open(sys.argv[1]):
    topic, partition, size = line.strip().rsplit(":", 2)
    logs[f"{topic}/{partition}"] = int(size)
assert len(logs) == 9 and min(logs.values()) >= 6, logs
first = {name: size // 3 for name, size in logs.items()}
last = {name: 2 * size // 3 for name, size in logs.items()}
write = lambda offsets: "{" + ", ".join(f"{name}: {offset}" for name, offset in offsets.items()) + "}"
print(f"offsets='{write(first)}' ends='{write(last)}' all={sum(logs.values())}")
print(f"head={sum(last.values())} tail={sum(logs.values()) - sum(first.values())}")
print(f"middle={sum(last.values()) - sum(first.values())}")
some = {name: 0 for name in logs if not name.endswith('/2')}
print(f"fewer='{write(some)}' more='{write({**logs, 'impressions/3': 0, 'clicks/3': 0, 'purchases/3': 0})}'")
print(f"beyond='{write({**logs, 'clicks/1': logs['clicks/1'] + 1})}' latest='{write({n: 'latest' for n in logs})}'")
PYTHON
# shellcheck source=/dev/null
. "$work/plan"

configuration whole ""
configuration head "ends: $ends"
configuration tail "start: latest, offsets: $offsets"
configuration middle "offsets: $offsets, ends: $ends"
configuration nothing "offsets: $latest"
replay whole "$all"
replay head "$head"
replay tail "$tail"
replay middle "$middle"
replay nothing 0

configuration fewer "offsets: $fewer"
configuration more "ends: $more"
configuration beyond "offsets: $beyond"
refused 1 "has 3 partitions, the offsets to read from are for 2" "$build/freshet" replay -c "$work/fewer.yaml" --quiet
refused 1 "has 3 partitions, the offsets to read from are for 4" "$build/freshet" replay -c "$work/more.yaml" --quiet
refused 1 "topic clicks, partition 1: offset" "$build/freshet" replay -c "$work/beyond.yaml" --quiet
refused 78 "source.ends: is for freshet replay" "$build/freshetd" -c "$work/middle.yaml"
echo "ok"
