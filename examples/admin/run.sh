#!/bin/sh
# Starts the example, manages permissions over HTTP with curl and by command, and stops. Needs curl and openssl.
set -eu
cd "$(dirname "$0")/../.."
./.ci/setup
PATH="$PATH:$HOME/.cargo/bin"
cargo build --quiet --bin rowgate
rowgate=${CARGO_TARGET_DIR:-target}/debug/rowgate
admin=http://127.0.0.1:6433
data=$(mktemp -d)
# PostgreSQL does not run as root: started by root it has to reach its folder as another user.
chmod a+x "$data"
"$rowgate" demo --data "$data/demo" --example examples/admin >"$data/greeting" 2>&1 &
demo=$!
trap 'kill $demo 2>/dev/null; wait $demo 2>/dev/null || true; rm -rf "$data"' EXIT
tries=0
until grep -q psql "$data/greeting" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 $demo 2>/dev/null; then cat "$data/greeting"; exit 1; fi
    sleep 0.2
done

olga=$(./examples/admin/token.sh olga)
bob=$(./examples/admin/token.sh bob)
say() { printf '\n# %s\n' "$*"; }
call() {
    who=$1 path=$2
    shift 2
    curl --silent --show-error -H "Authorization: Bearer $who" -H 'Content-Type: application/json' "$@" "$admin$path"
    printf '\n'
}
ask() { PGPASSWORD=demo psql -h 127.0.0.1 -p 6432 -U bob demo -c 'SELECT id, text FROM notes ORDER BY id' 2>&1 || true; }

say 'bob may see nothing yet, and for him the table does not exist'
ask
say 'olga, who holds admin:permissions, lets him read notes ...'
call "$olga" /api/permissions/grant -d '{"user": "bob", "permission": "read:notes"}'
say '... and makes him a member of team blue for an hour'
until=$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -v+1H +%Y-%m-%dT%H:%M:%SZ)
call "$olga" /api/roles/grant -d "{\"user\": \"bob\", \"role\": \"blue\", \"until\": \"$until\"}"
say 'his next statement sees what team blue wrote'
ask
say 'granting again changes nothing and says so'
call "$olga" /api/permissions/grant -d '{"user": "bob", "permission": "read:notes"}'
say 'a slip of the pen is pointed out'
call "$olga" /api/permissions/grant -d '{"user": "bob", "permission": "read:note", "strict": true}'
say 'bob cannot help himself to more, nor olga herself'
call "$bob" /api/roles/grant -d '{"user": "bob", "role": "red"}'
call "$olga" /api/roles/grant -d '{"user": "olga", "role": "red"}'
say 'what bob is and may do, for a front end'
call "$bob" /api/me
say 'the operator needs no token, but the configuration'
config=$(find "$data/demo" -name rowgate.toml)
"$rowgate" roles --user bob --config "$config"
"$rowgate" revoke --user bob --role blue --config "$config"
ask
say 'who did what, when, before and after'
grep '"event":"admin"' "$(dirname "$config")/audit.jsonl"
