# What both examples do: build, start the demo with this folder's rowgate.toml, ask as its users. Sourced.
root=$(cd ../../.. && pwd)
if [ -z "${ROWGATE:-}" ]; then
    (cd "$root" && ./.ci/setup && PATH="$PATH:$HOME/.cargo/bin" cargo build --quiet --bin rowgate)
    ROWGATE=${CARGO_TARGET_DIR:-$root/target}/debug/rowgate
fi
port=${PORT:-6432}
work=$(mktemp -d)
started=""
# Only what was started here.
trap 'for one in $started; do kill $one 2>/dev/null; done; wait; rm -rf "$work"' EXIT

need() { command -v "$1" >/dev/null 2>&1 || { echo "needs $1: apt-get install $2" >&2; exit 1; }; }
need psql postgresql-client

# until_so COMMAND: waits for it to succeed, 30 s at most.
until_so() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 150 ]; then echo "waited in vain for: $*" >&2; cat "$work"/*.log >&2; exit 1; fi
        sleep 0.2
    done
}
demo() {
    "$ROWGATE" demo --listen "127.0.0.1:$port" --example "$work" >"$work/demo.log" 2>&1 &
    started="$started $!"
    until_so grep -q Ctrl-C "$work/demo.log"
}
sum() { PGPASSWORD=demo psql -h 127.0.0.1 -p "$port" -U "$1" demo -Atc 'SELECT SUM(amount) FROM invoices'; }
show() {
    seen=$(sum "$1")
    printf '%-5s %s\n' "$1" "${seen:-no row}"
}
# until_sum USER AMOUNT: waits until a change has arrived.
until_sum() { until_so sh -c "[ \"\$(PGPASSWORD=demo psql -h 127.0.0.1 -p $port -U $1 demo -Atc 'SELECT SUM(amount) FROM invoices')\" = $2 ]"; }
