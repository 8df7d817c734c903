#!/usr/bin/env bash
# Real data: the Taobao sample, from files and from a real Kafka, with 1 and 2 workers and other fetch sizes, ends with
# the same weights, and the join counts what the conversion knows (tests/taobao/convert.py tells the mapping).
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

freshet=$PWD/build/release/freshet
kafka=tests/tools/kafka/kafka
python=$PWD/build/venv/bin/python
lanes=4
work=$(mktemp -d /tmp/freshet-taobao.XXXX)
cleanup() {
  "$kafka" stop build/kafka --data "$work/kafka" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "taobao.sh: $*" >&2
  exit 1
}

json() { "$python" -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

"$python" tests/taobao/convert.py "$work/events" --lanes $lanes | tee "$work/converted.txt"
sed "s#path: ../../build/taobao/events#path: $work/events#; s#^state_dir:.*#state_dir: $work/state#" \
  tests/taobao/freshet.yaml >"$work/files.yaml"

"$kafka" install build/kafka
bootstrap=$("$kafka" start build/kafka 0 --data "$work/kafka")
for topic in impressions clicks purchases; do
  "$kafka" topics build/kafka --data "$work/kafka" create $topic $lanes retention.ms=-1
done
"$python" tests/taobao/to_kafka.py "$work/events" "$bootstrap"
sed '/^source:/,/path:/d' "$work/files.yaml" >"$work/kafka.yaml"
echo "source: {kind: kafka, bootstrap: '$bootstrap'}" >>"$work/kafka.yaml"

replay() { # NAME CONFIGURATION options...
  local name=$1 config=$2
  shift 2
  "$freshet" replay -c "$work/$config.yaml" --finish --quiet "$@" >"$work/$name.json" 2>"$work/log" ||
    { cat "$work/log" >&2 && fail "replay $name"; }
  echo "$name: $(json "$work/$name.json" '"{events} events, {samples} samples, weights {weights}".format(**d)')"
  [ "$(json "$work/$name.json" 'd["weights"]')" = "$(json "$work/files.json" 'd["weights"]')" ] ||
    fail "$name ends with other weights"
}
replay files files
replay files-workers-2 files --workers 2
replay files-fetch-1 files --fetch 1
replay files-fetch-4096 files --fetch 4096
replay kafka kafka
replay kafka-workers-2 kafka --workers 2
json "$work/files.json" '"joined: " + ", ".join("%d %ss" % (t["joined"], n) for n, t in d["topics"].items())'
for pair in impression:75837 click:12925 purchase:843; do
  [ "$(json "$work/files.json" "d['topics']['${pair%:*}']['joined']")" = "${pair#*:}" ] || fail "not ${pair#*:} joined"
done
echo "ok"
