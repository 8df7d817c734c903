#!/usr/bin/env bash
# The log's own faults, each in turn, against a real broker and a real Redis: what freshetd does, the sentence it
# stops with, the command that the sentence names, and what is learned then. About 80 seconds.
#
#   tests/integration/log_faults.sh [FAULT...]      default: all; log_faults.py lists them
#
# Environment: FRESHET_KAFKA, where the broker's jars are or go (build/kafka); FRESHET_BUILD, a build directory whose
# programs are tested (build/release).
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE
exec build/venv/bin/python tests/integration/log_faults.py "$@"
