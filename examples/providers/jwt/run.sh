#!/bin/sh
# Makes keys, starts the example, asks as Bob and Anne with tokens over TLS, and stops. Needs openssl 3 and psql.
set -eu
cd "$(dirname "$0")"
here=$PWD
examples=$(cd ../.. && pwd)
. "$examples/lib.sh"
need openssl openssl
folder=$work/example
mkdir "$folder"
url64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# The issuer's key pair, and the public half as the issuer publishes it.
openssl genpkey -algorithm ed25519 -out "$folder/issuer.key"
x=$(openssl pkey -in "$folder/issuer.key" -pubout -outform DER | tail -c 32 | url64)
printf '{"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "key-1", "x": "%s"}]}\n' "$x" \
    >"$folder/jwks.json"
# The gate's certificate.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout "$folder/server.key" -out "$folder/server.pem" 2>/dev/null
cp rowgate.toml "$folder/"
demo "$folder"

show_with() { # USER TOKEN
    seen=$(PGPASSWORD=$2 psql "host=localhost hostaddr=127.0.0.1 port=$port dbname=demo user=agent.$1 sslmode=verify-full sslrootcert=$folder/server.pem" \
        -Atc 'SELECT SUM(amount) FROM invoices' 2>&1 | sed -n '1s/.*FATAL: */FATAL:  /; 1p')
    printf '%-5s %s\n' "$1" "${seen:-no row}"
}
token() { "$here/token.sh" "$folder" "$@"; }

say 'Bob, whose token says: HR Manager'
bob=$(token bob '"realm_access":{"roles":["HR Manager"]}')
show_with bob "$bob"
say 'Anne, whose token says: HR Manager and Sales Manager'
show_with anne "$(token anne '"realm_access":{"roles":["HR Manager","Sales Manager"]}')"
say 'a token without roles'
show_with bob "$(token bob '"scope":""')"
say "Bob's token does not open Anne's rows"
show_with anne "$bob"
say 'nor does a token that has expired'
show_with bob "$(token bob '"realm_access":{"roles":["HR Manager"]}' -60)"
say 'nor one that somebody else has signed'
openssl genpkey -algorithm ed25519 -out "$folder/issuer.key"
show_with bob "$(token bob '"realm_access":{"roles":["HR Manager"]}')"
