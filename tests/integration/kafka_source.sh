#!/usr/bin/env bash
# kafka_source.sh - the Kafka source, and ingest over it, against a real broker on loopback.
#
# Batches, refusals, transactions, trimmed logs, a frozen and a killed broker, grown topics, logins; then the
# same samples from Kafka as from files. About a minute. Exits non-zero at the first thing that is wrong.
#
# Environment: FRESHET_KAFKA, where the broker's jars are or go (build/kafka); FRESHET_BUILD, a build directory
# whose libraries are tested (build/release); FRESHET_CFLAGS, more flags, if those need some (-fsanitize=...).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

kafka=$PWD/tests/tools/kafka/kafka
jars=${FRESHET_KAFKA:-$PWD/build/kafka}
build=${FRESHET_BUILD:-build/release}
export KAFKA_HEAP=${KAFKA_HEAP:-384m}
work=$(mktemp -d "${TMPDIR:-/tmp}/freshet-kafka-XXXXXX")

cleanup() {
  local status=$?
  local data
  for data in plain secure; do
    "$kafka" stop "$jars" --data "$work/$data" || true
  done
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT

# Compiles tests/integration/$1.c into $work/$1.
compile() {
  local flags
  read -ra flags <<<"${FRESHET_CFLAGS:-} $(pkg-config --cflags rdkafka avro-c libcurl jansson)"
  local libraries
  read -ra libraries <<<"$(pkg-config --libs rdkafka avro-c libcurl jansson libxxhash yaml-0.1 zlib)"
  "${CC:-cc}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wconversion -Werror -O1 -g -I. "${flags[@]}" \
    "tests/integration/$1.c" -o "$work/$1" "$build/libconsumer.a" "$build/libbase.a" "${libraries[@]}" -lm -lpthread
}

[ -f "$build/libconsumer.a" ] || { echo "no libraries in $build: build first" >&2; exit 1; }
"$kafka" install "$jars"
compile kafka_source
compile kafka_source_ingest

bootstrap=$("$kafka" start "$jars" 0 --data "$work/plain")
timeout 150 "$work/kafka_source" "$bootstrap" "$kafka" "$jars" "$work/plain"
"$kafka" topics "$jars" create impressions 4 --data "$work/plain" 2>/dev/null
"$kafka" topics "$jars" create clicks 4 --data "$work/plain" 2>/dev/null
mkdir "$work/scratch"
echo ingest
timeout 150 "$work/kafka_source_ingest" "$bootstrap" "$kafka" "$jars" "$work/plain" "$work/scratch"
"$kafka" stop "$jars" --data "$work/plain"

echo login
bootstrap=$("$kafka" start "$jars" 0 --data "$work/secure" --secure)
"$kafka" topics "$jars" create secret 1 --data "$work/secure" 2>/dev/null
password=$(sed -n 's/^sasl.password=//p' "$work/secure/secure/client.conf")
timeout 60 "$work/kafka_source" --login "$bootstrap" freshet "$password" "$work/secure/secure/ca.pem"
echo "kafka_source: all passed"
