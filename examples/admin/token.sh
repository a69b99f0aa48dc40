#!/bin/sh
# Prints a signed token for the user named, good for five minutes: what your identity provider does.
set -eu
secret=${SECRET:-the secret of this example, 32 bytes or more}
url64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
head=$(printf '{"alg":"HS256","typ":"JWT"}' | url64)
body=$(printf '{"sub":"%s","aud":"rowgate","exp":%s}' "$1" "$(($(date +%s) + 300))" | url64)
sign=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "$secret" -binary | url64)
printf '%s.%s.%s\n' "$head" "$body" "$sign"
