#!/bin/sh
# Rowgate with the running example, ready for the workflows in this folder. Arguments go to `rowgate demo`.
set -eu
cd "$(dirname "$0")"
if [ ! -e keys/token-secret ]; then
    umask 077
    mkdir -p keys
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout keys/server.key -out keys/server.pem 2>/dev/null
    openssl rand -hex 32 >keys/token-secret
fi
cat <<'TEXT'
In n8n's credentials:
  JWT Auth   passphrase: the line in examples/n8n/keys/token-secret
  Start n8n with NODE_EXTRA_CA_CERTS=examples/n8n/keys/server.pem so that it trusts the gate's certificate.
TEXT
exec ../demo.sh --example "$PWD" "$@"
