#!/bin/sh
# Starts the example, takes a role away and lends one for two seconds, while the gate caches for an hour. Needs psql.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
if [ -z "${ROWGATE:-}" ]; then
    ./.ci/setup
    PATH="$PATH:$HOME/.cargo/bin"
    cargo build --quiet --bin rowgate
    ROWGATE=${CARGO_TARGET_DIR:-target}/debug/rowgate
fi
port=${PORT:-6432}
work=$(mktemp -d)
# PostgreSQL does not run as root: started by root it has to reach its folder as another user.
chmod a+x "$work"
demo=""
# Only what was started here.
trap '[ -z "$demo" ] || { kill "$demo" 2>/dev/null; wait "$demo" 2>/dev/null || true; }; rm -rf "$work"' EXIT
"$ROWGATE" demo --listen "127.0.0.1:$port" --data "$work/demo" --example "$here" >"$work/greeting" 2>&1 &
demo=$!
tries=0
until grep -q Ctrl-C "$work/greeting"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$demo" 2>/dev/null; then cat "$work/greeting"; exit 1; fi
    sleep 0.2
done
config=$(find "$work/demo" -name rowgate.toml)
of() { sed -n "/^\[upstream\]/,/^\[\[/s/^$1 = \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$config"; }
owner() { PGPASSWORD=$(of admin_password) psql -h 127.0.0.1 -p "$(of port)" -U postgres demo -qAt "$@"; }
ask() { PGPASSWORD=demo psql -h 127.0.0.1 -p "$port" -U "$1" demo -Atc 'SELECT SUM(amount) FROM invoices'; }
say() { printf '\n# %s\n' "$*"; }

"$ROWGATE" provider triggers --config "$config" | owner
say 'Bob, HR Manager'
ask bob
say 'his role is taken away in the table: the trigger tells the gate, the next statement sees no row'
owner -c "DELETE FROM user_roles WHERE \"user\" = 'bob'"
sleep 0.2
ask bob
say 'he gets it back for three seconds'
owner -c "INSERT INTO user_roles VALUES ('bob', 'HR Manager', now() + interval '3 s')"
sleep 0.2
ask bob
sleep 3
say 'three seconds later'
ask bob
