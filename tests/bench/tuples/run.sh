#!/bin/bash
# Ten million tuples: ways to ask for a user's documents, through the gate. Milliseconds from psql to the last row: the middle
# one and the slowest of a hundred. Then the plan of each form. Ten minutes, 3 GB of disk.
set -eu
cd "$(dirname "$0")/../../.."
rowgate=${ROWGATE:-target/release/rowgate}
out=$(mktemp)
timeout 2400 "$rowgate" demo --example tests/bench/tuples --listen 127.0.0.1:0 >"$out" &
demo=$!
trap 'kill $demo 2>/dev/null || true; wait $demo || true; rm -f "$out"' EXIT
until grep -q '^Ready' "$out"; do sleep 1; kill -0 $demo; done
port=$(sed -n 's/^Ready.*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$out")
until grep -q 'Ctrl-C' "$out"; do sleep 1; kill -0 $demo; done
config=$(sed -n 's/.*--config \([^ ]*\) .*/\1/p' "$out" | head -1)

# measure USER TIMES QUERY: one connection; the first answer, which is parsed and planned, does not count.
measure() {
    for _ in $(seq 0 "$2"); do echo "SELECT $3;"; done |
        PGPASSWORD=demo psql -h 127.0.0.1 -p "$port" -U "$1" demo -XAtq -v ON_ERROR_STOP=1 -c '\timing on' -f - 2>&1 |
        sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n +2 | sort -n |
        awk '{ times[NR] = $1 } END { printf "%9.1f %9.1f %9.1f  %5d\n", times[int((NR + 1) / 2)], times[int((NR * 99 + 99) / 100)], times[NR], NR }'
}
printf '%-5s %-5s %-72s %9s %9s %9s  %5s\n' user form query p50 p99 max runs
for user in u42:200:20 wide:100:20 huge:40:10; do
    IFS=: read -r name many few <<<"$user"
    for form in any join; do
        while read -r times query; do
            printf '%-5s %-5s %-72s ' "$name" "$form" "${query/_$form/}"
            measure "$name" "$times" "$query"
        done <<TEXT
$many title FROM documents_$form WHERE id = '12345'
$many id FROM documents_$form ORDER BY created DESC LIMIT 10
$few count(*) FROM documents_$form
$few count(*) FROM documents_$form WHERE created BETWEEN '2021-01-01' AND '2021-01-20'
TEXT
    done
done

# As the database's owner; the views are those the gate reads, asked for u42.
of() { sed -n "/^\[upstream\]/,/^\[\[/s/^$1 = \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$config"; }
for view in rowgate.documents_any rowgate_open.documents_any rowgate_open.documents_join; do
    for rest in "WHERE id = '12345'" 'ORDER BY created DESC LIMIT 10'; do
        printf '\nEXPLAIN SELECT id FROM %s %s\n' "$view" "$rest"
        PGPASSWORD=$(of admin_password) psql -h 127.0.0.1 -p "$(of port)" -U postgres demo -XAtq <<TEXT
BEGIN;
SET LOCAL rowgate.user_id = 'u42';
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT id FROM $view $rest;
ROLLBACK;
TEXT
    done
done
