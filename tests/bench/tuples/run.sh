#!/bin/bash
# Ten million tuples: three ways to ask for a user's documents, through the gate. Five minutes, 3 GB of disk.
set -eu
cd "$(dirname "$0")/../../.."
rowgate=${ROWGATE:-target/release/rowgate}
out=$(mktemp)
timeout 1200 "$rowgate" demo --example tests/bench/tuples --listen 127.0.0.1:0 >"$out" &
demo=$!
trap 'kill $demo 2>/dev/null || true; rm -f "$out"' EXIT
until grep -q '^Ready' "$out"; do sleep 1; kill -0 $demo; done
port=$(sed -n 's/^Ready.*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$out")
export PGPASSWORD=demo PGHOST=127.0.0.1 PGPORT=$port PGDATABASE=demo
printf '%-6s %-5s %-45s %s\n' user form query 'median of 5, ms'
for user in u42 wide huge; do
    for form in any in join; do
        for query in "count(*) FROM documents_$form" \
            "title FROM documents_$form WHERE id = '12345'" \
            "count(*) FROM documents_$form WHERE created BETWEEN '2021-01-01' AND '2021-01-20'" \
            "id FROM documents_$form ORDER BY created DESC LIMIT 10"; do
            times=$(for _ in 1 2 3 4 5 6; do echo "SELECT $query;"; done | psql -U "$user" -XAtq -c '\timing on' -f - 2>&1 |
                sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -5 | sort -n)
            printf '%-6s %-5s %-45.45s %s\n' "$user" "$form" "${query/_$form/}" "$(sed -n 3p <<<"$times")"
        done
    done
done
