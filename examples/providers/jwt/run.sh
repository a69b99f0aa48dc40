#!/bin/sh
# Makes keys, starts the example, asks as Bob and Anne with tokens over TLS, and stops. Needs openssl 3 and psql.
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
demo=""
# Only what was started here.
trap '[ -z "$demo" ] || { kill "$demo" 2>/dev/null; wait "$demo" 2>/dev/null || true; }; rm -rf "$work"' EXIT
url64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# The issuer's key pair, and the public half as the issuer publishes it.
openssl genpkey -algorithm ed25519 -out "$work/issuer.key"
x=$(openssl pkey -in "$work/issuer.key" -pubout -outform DER | tail -c 32 | url64)
printf '{"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "key-1", "x": "%s"}]}\n' "$x" \
    >"$work/jwks.json"
# The gate's certificate.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout "$work/server.key" -out "$work/server.pem" 2>/dev/null
cp "$here/rowgate.toml" "$work/"

"$ROWGATE" demo --listen "127.0.0.1:$port" --example "$work" >"$work/greeting" 2>&1 &
demo=$!
tries=0
until grep -q Ctrl-C "$work/greeting"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$demo" 2>/dev/null; then cat "$work/greeting"; exit 1; fi
    sleep 0.2
done

ask() { # USER TOKEN
    PGPASSWORD=$2 psql "host=localhost hostaddr=127.0.0.1 port=$port dbname=demo user=agent.$1 sslmode=verify-full sslrootcert=$work/server.pem" \
        -Atc 'SELECT SUM(amount) FROM invoices' 2>&1 | sed 's/.*FATAL: */FATAL: /' || true
}
say() { printf '\n# %s\n' "$*"; }
token() { "$here/token.sh" "$work" "$@"; }

say 'Bob, whose token says: HR Manager'
bob=$(token bob '"realm_access":{"roles":["HR Manager"]}')
ask bob "$bob"
say 'Anne, whose token says: HR Manager and Sales Manager'
ask anne "$(token anne '"realm_access":{"roles":["HR Manager","Sales Manager"]}')"
say 'a token without roles: no rows'
ask bob "$(token bob '"scope":""')"
say "Bob's token does not open Anne's rows"
ask anne "$bob"
say 'nor does a token that has expired'
ask bob "$(token bob '"realm_access":{"roles":["HR Manager"]}' -60)"
say 'nor one that somebody else has signed'
openssl genpkey -algorithm ed25519 -out "$work/issuer.key"
ask bob "$(token bob '"realm_access":{"roles":["HR Manager"]}')"
