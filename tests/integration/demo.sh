#!/usr/bin/env bash
# freshet demo, whole and interrupted: it shows a model that learns, ends with 0, and leaves no process and no file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

# A short path: a unix socket's has to fit.
work=$(mktemp -d /tmp/demo-test.XXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp"
export TMPDIR=$work/tmp

fail() {
  echo "demo.sh: $*; the output:" >&2
  cat "$work/out" >&2
  exit 1
}

nothing_left() {
  [ -z "$(ls -A "$work/tmp")" ] || fail "files are left: $(ls -A "$work/tmp")"
  ! pgrep -f "$work/tmp" >/dev/null || fail "processes are left: $(pgrep -af "$work/tmp")"
}

build/release/freshet demo --seconds 30 >"$work/out" 2>&1 || fail "it exited with $?"
nothing_left
[ "$(grep -c '^ *[0-9]* s  events/s' "$work/out")" -ge 25 ] || fail "not a line a second"
grep -q '^Summary: ' "$work/out" || fail "no summary"

# In its last line the model has closed a part of the gap between constant and truth, and the item has moved.
grep '^ *[0-9]* s  events/s' "$work/out" | tail -n 1 | awk '
  { for (i = 1; i < NF; i++) { if ($i == "loss" && !loss) loss = $(i + 1)
      if ($i == "constant" && !constant) constant = $(i + 1)
      if ($i == "truth" && !truth) truth = $(i + 1)
      if ($i == "Redis") redis = $(i + 1) } }
  END { closed = (constant - loss) / (constant - truth); print "clicks: " closed " of the gap; item " redis
    exit !(closed > 0.25 && redis > 0.2) }' || fail "it has not learned"

# Ctrl-C in the middle.
build/release/freshet demo --seconds 60 >"$work/out" 2>&1 &
pid=$!
sleep 6
kill -INT $pid
wait $pid || fail "interrupted, it exited with $?"
nothing_left
echo "ok"
