#!/bin/sh
# token.sh FOLDER USER CLAIMS [SECONDS]: prints a signed token, which is what your identity provider does.
set -eu
folder=$1 user=$2 claims=$3 seconds=${4:-300}
url64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
head=$(printf '{"alg":"EdDSA","typ":"JWT","kid":"key-1"}' | url64)
body=$(printf '{"iss":"https://id.example.com","aud":"rowgate","sub":"%s","exp":%s,%s}' \
    "$user" "$(($(date +%s) + seconds))" "$claims" | url64)
part=$(mktemp)
trap 'rm -f "$part"' EXIT
printf '%s.%s' "$head" "$body" >"$part"
sign=$(openssl pkeyutl -sign -rawin -inkey "$folder/issuer.key" -in "$part" | url64)
printf '%s.%s.%s\n' "$head" "$body" "$sign"
