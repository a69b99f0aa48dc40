# What the examples' scripts share: build, start the demo, ask as its users. Sourced, with $examples set.
if [ -z "${ROWGATE:-}" ]; then
    (cd "$examples/.." && ./.ci/setup && PATH="$PATH:$HOME/.cargo/bin" cargo build --quiet --bin rowgate)
    ROWGATE=${CARGO_TARGET_DIR:-$examples/../target}/debug/rowgate
fi
port=${PORT:-6432}
work=$(mktemp -d)
# PostgreSQL does not run as root: started by root it has to reach its folder as another user.
chmod a+x "$work"
started=""
# Only what was started here.
trap 'for one in $started; do kill $one 2>/dev/null; done; wait; rm -rf "$work"' EXIT

need() { command -v "$1" >/dev/null 2>&1 || { echo "needs $1: apt-get install $2" >&2; exit 1; }; }
need psql postgresql-client

# until_so COMMAND: waits for it to succeed, a minute at most.
until_so() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ]; then echo "waited in vain for: $*" >&2; cat "$work"/*.log >&2; exit 1; fi
        sleep 0.2
    done
}
# demo FOLDER: starts the demo with that folder; $config is its configuration, $audit its log.
demo() {
    "$ROWGATE" demo --listen "127.0.0.1:$port" --data "$work/data" --example "$1" >"$work/demo.log" 2>&1 &
    started="$started $!"
    until_so grep -q Ctrl-C "$work/demo.log"
    config=$(find "$work/data" -name rowgate.toml)
    audit=$(dirname "$config")/audit.jsonl
}
say() { printf '# %s\n' "$*"; }
# ask USER SQL: what psql prints, errors included, without the server's address.
ask() {
    PGPASSWORD=demo psql -h 127.0.0.1 -p "$port" -U "$1" demo -Atc "$2" 2>&1 | sed 's/.*FATAL: */FATAL:  /' || true
}
show() {
    seen=$(ask "$1" "${question:-SELECT SUM(amount) FROM invoices}")
    printf '%-5s %s\n' "$1" "${seen:-no row}"
}
# until_seen USER ANSWER: waits until a change has arrived.
until_seen() { until_so seen_is "$1" "$2"; }
seen_is() { [ "$(ask "$1" "${question:-SELECT SUM(amount) FROM invoices}")" = "$2" ]; }
# owner ...: psql as the database's owner, without the gate.
owner() {
    of() { sed -n "/^\[upstream\]/,/^\[\[/s/^$1 = \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$config"; }
    PGPASSWORD=$(of admin_password) psql -h 127.0.0.1 -p "$(of port)" -U postgres demo -qAt "$@"
}
