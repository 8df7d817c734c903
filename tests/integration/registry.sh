#!/usr/bin/env bash
# The registry's client against a real schema registry: ids that exist, one that does not, a frozen server, a
# crash, and a start without the server from the cache on disk. Uses the libraries of build/release (or $BUILD).
#
#   registry.sh [DIR]      DIR keeps the installed server between runs; default: a temporary directory
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build/release}
kit=$PWD/tests/tools/kafka/registry
work=$(mktemp -d)
server=${1:-$work}
finish() {
  "$kit" resume "$server" --data "$work/data" >/dev/null 2>&1 || true
  "$kit" stop "$server" --data "$work/data" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

# shellcheck disable=SC2046
cc -std=c11 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror -I. tests/integration/registry.c "$build/libconsumer.a" \
  "$build/libbase.a" $(pkg-config --cflags --libs libcurl jansson libxxhash avro-c) -lyaml -lm -lpthread \
  -o "$work/client"

"$kit" install "$server"
url=$("$kit" start "$server" 0 --data "$work/data")

checks=0
# expect PATTERN URL CACHE ID: the client's line begins with PATTERN.
expect() {
  local want=$1 got
  shift
  got=$("$work/client" "$@")
  case $got in
  "$want"*) checks=$((checks + 1)) ;;
  *)
    echo "registry.sh: $*: \"$got\" instead of \"$want\"" >&2
    exit 1
    ;;
  esac
}

# Registers file $2 under subject $1 and prints its id.
register() {
  python3 - "$url/subjects/$1/versions" "$2" <<'PYTHON'
import json, sys, urllib.request

body = json.dumps({"schema": open(sys.argv[2]).read()}).encode()
headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
print(json.load(urllib.request.urlopen(urllib.request.Request(sys.argv[1], body, headers)))["id"])
PYTHON
}

impression=$(register impressions-value schemas/impression.avsc)
click=$(register clicks-value schemas/click.avsc)
[ "$impression" != "$click" ]

expect 'known {"name":"freshet.Impression","type":"record"' "$url" - "$impression"
expect 'known {"name":"freshet.Click","type":"record"' "$url/" "$work/cache" "$click"
expect "unknown schema 4711: the registry has no such id" "$url" "$work/cache" 4711
# Not the registry's address: nothing may be taken for unknown.
expect "later schema 4711: the registry answered with status 404" "${url%/ccompat/v7}" - 4711

"$kit" pause "$server" --data "$work/data"
expect "later schema $impression: " "$url" - "$impression"
expect "known" "$url" "$work/cache" "$click"
"$kit" resume "$server" --data "$work/data"
expect "known" "$url" - "$impression"

"$kit" kill9 "$server" --data "$work/data"
expect "later schema $impression: " "$url" "$work/cache" "$impression"
expect "known" "$url" "$work/cache" "$click"
"$kit" restart "$server" --data "$work/data" >/dev/null
expect "known" "$url" "$work/cache" "$impression"
"$kit" stop "$server" --data "$work/data"
expect "known" "$url" "$work/cache" "$impression"
echo "registry.sh: $checks checks passed"
