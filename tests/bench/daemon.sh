#!/usr/bin/env bash
# The whole daemon, a real Kafka to Redis, with 1 and 2 workers: `freshet bench pipeline`, with the processor time of
# broker and Redis taken off what the daemon could have had. Two minutes.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

kafka=tests/tools/kafka/kafka
work=$(mktemp -d /tmp/freshet-bench-daemon.XXXX)
cleanup() {
  "$kafka" stop build/kafka --data "$work" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

"$kafka" install build/kafka
FRESHET_BENCH_KAFKA=$("$kafka" start build/kafka 0 --data "$work")
FRESHET_BENCH_KAFKA_PID=$(cat "$work/1/pid")
export FRESHET_BENCH_KAFKA FRESHET_BENCH_KAFKA_PID
build/release/freshet bench pipeline
