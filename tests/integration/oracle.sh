#!/usr/bin/env bash
# The join at scale: generated streams through `freshet replay` and through the batch oracle (tests/oracle/oracle.py),
# compared count by count and sample by sample.
#
#   tests/integration/oracle.sh [IMPRESSIONS]      of each stream; default 60000
#
# Long form of the campaign: 2000000 (about five minutes).
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OPENBLAS_L2_SIZE

impressions=${1:-60000}
freshet=$PWD/build/release/freshet
python=build/venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Actions beside click and purchase: "SOURCE SHARE SETTINGS", the settings as the oracle's --action takes them. Their
# topic is made of a share of another one's records (tests/oracle/actions.py).
further=()

# Prints their lines of a configuration; all have a value and the lateness $1.
further_lines() {
  local one
  for one in "${further[@]}"; do
    sed "s/,side/&=true/; s/=/: /g; s/,/, /g; s/.*/  - {&, allowed_lateness: $1, fields: {value: value}}/" \
      <<<"${one##* }"
  done
}

# Prints a configuration:
#   configuration CLICK_WAIT CLICK_WINDOW PURCHASE_WAIT PURCHASE_WINDOW LATENESS ORPHAN_TIMEOUT KEEP [CORRECTION]
# With a CORRECTION of the negatives impressions have a weight and a propensity as well.
configuration() {
  local weights="" correction=""
  if [ -n "${8:-}" ]; then
    correction="negatives_correction: $8"
    weights=', propensity_min: 0.2, fields: {weight: position, propensity: numeric.discount}'
  fi
  cat <<YAML
source: {kind: files, path: events}
orphan_timeout: $6
keep_negatives: $7
$correction
impression: {allowed_lateness: $5$weights}
actions:
  - {name: click, topic: clicks, wait: $1, window: $2, allowed_lateness: $5, fields: {value: value}}
  - {name: purchase, topic: purchases, wait: $3, window: $4, allowed_lateness: $5, fields: {value: value}}
$(further_lines "$5")
model: {levels: [{experts: [16], per_task: 1, shared: 1}], towers: [16]}
slots: [{name: campaign, path: categorical.campaign, dimension: 4}]
YAML
}

# check NAME "the settings of configuration" generate's options...
check() {
  local name=$1 settings=$2
  shift 2
  local -a s
  local -a weights=()
  read -r -a s <<<"$settings"
  if [ -n "${s[7]:-}" ]; then
    weights=(--negatives-correction "${s[7]}" --weight position --propensity numeric.discount --propensity-min 0.2)
  fi
  rm -rf "$work/events" "$work/samples.avro"
  "$freshet" generate --files "$work/events" --impressions "$impressions" --click-window "${s[1]}" \
    --purchase-window "${s[3]}" "$@"
  local one
  local -a part actions=()
  for one in "${further[@]}"; do
    read -r -a part <<<"$one"
    "$python" tests/oracle/actions.py "$work/events" "$(sed 's/.*topic=\([a-z]*\).*/\1/' <<<"$one")" \
      --after "${part[0]}" --share "${part[1]}"
    actions+=(--action "${part[2]},value=value")
  done
  configuration "${s[@]}" >"$work/freshet.yaml"
  "$freshet" replay -c "$work/freshet.yaml" --finish --quiet --samples "$work/samples.avro" >"$work/replay.json"
  "$python" tests/oracle/oracle.py "$work/events" --click-wait "${s[0]}" --click-window "${s[1]}" \
    --purchase-wait "${s[2]}" --purchase-window "${s[3]}" --lateness "${s[4]}" --orphan-timeout "${s[5]}" \
    --keep-negatives "${s[6]}" "${weights[@]}" "${actions[@]}" --click-value value --purchase-value value \
    --samples "$work/samples.avro" --replay "$work/replay.json" >"$work/oracle.json"
  echo "ok $name: $("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["kinds"])' "$work/oracle.json")"
}

check "short waits, much disorder" "20s 1m 30s 2m 2s 10s 1" --lanes 3 --seed 7 --rate 200 --ctr 0.3 --cvr 0.3 \
  --delay-scale 0.3 --late 0.05 --late-delay 30s --duplicates 0.05 --strays 0.1
check "waits are windows, no lateness, a third of the negatives" "40s 40s 1m 1m 0 1m 0.3" --lanes 2 --seed 8 \
  --rate 500 --ctr 0.2 --cvr 0.2 --delay-scale 0.5 --late 0.02 --late-delay 2m --duplicates 0.1 --strays 0.05
check "weights, and negatives that are weighed" "20s 1m 30s 2m 2s 10s 0.3 weight" --lanes 3 --seed 10 --rate 200 \
  --ctr 0.3 --cvr 0.3 --delay-scale 0.3 --late 0.05 --late-delay 30s --duplicates 0.05 --strays 0.1
check "no waits" "0 30s 0 5m 5s 0 1" --lanes 4 --seed 9 --rate 300 --ctr 0.2 --cvr 0.4 --delay-scale 0.2 \
  --late 0.01 --strays 0.1 --network 3s

# A third stage; side actions of every stage, with waits and windows of their own; and one that counts as another.
further=(
  "purchases 0.5 name=review,topic=reviews,wait=15s,window=2m"
  "impressions 0.3 name=cart,topic=carts,wait=10s,window=50s,side,parent=impression"
  "clicks 0.4 name=detail,topic=details,wait=0,window=3m,side,parent=click"
  "purchases 0.4 name=invoice,topic=invoices,wait=30s,window=1m,side,parent=purchase"
  "impressions 0.3 name=favourite,topic=favourites,wait=10s,window=50s,side,parent=impression,as=cart"
)
check "a third stage, side actions, and one that counts as another" "20s 1m 30s 2m 2s 30s 0.4" --lanes 3 --seed 11 \
  --rate 200 --ctr 0.4 --cvr 0.5 --delay-scale 0.3 --late 0.05 --late-delay 30s --duplicates 0.05 --strays 0.1
