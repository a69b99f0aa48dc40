#!/bin/sh
# Starts the demo, runs the policy tests of its views, then one that does not hold, and stops.
set -eu
cd "$(dirname "$0")"
examples=$(cd .. && pwd)
. "$examples/lib.sh"
mkdir "$work/example"
demo "$work/example"
say 'rowgate test policy-tests'
"$ROWGATE" test --config "$config" "$examples/../policy-tests" && say "exit code $?"
say 'rowgate test too-much.yaml'
"$ROWGATE" test --config "$config" too-much.yaml || say "exit code $?"
