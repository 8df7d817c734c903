#!/usr/bin/env bash
# The Python reader, written from schemas/publication.md alone, against the C reader: rows, dense tensors and
# scores, in fp32 and fp16, over bases, deltas and damaged keys. Uses the libraries of build/release (or $BUILD).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build/release}
work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy redis xxhash
# shellcheck disable=SC2046
cc -std=c11 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror -I. \
  tests/integration/reader_python.c tests/unit/publisher_model.c \
  "$build/libpublisher.a" "$build/libtrainer.a" "$build/libbase.a" \
  $(pkg-config --cflags --libs hiredis jansson openblas libxxhash) -lyaml -lm -lpthread -o "$work/reader_python"

redis-server --port 0 --unixsocket "$work/redis" --save "" --appendonly no --dir "$work" --logfile "$work/redis.log" &
server=$!
for _ in $(seq 100); do
  [ ! -S "$work/redis" ] || break
  sleep 0.05
done
PYTHONPATH=publisher/python "$work/venv/bin/python" tests/integration/python_reader.py \
  "$work/reader_python" "$work/redis"
