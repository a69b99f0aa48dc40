#!/bin/sh
# Starts the example, manages permissions over HTTP with curl and by command, and stops. Needs curl and openssl.
set -eu
cd "$(dirname "$0")"
here=$PWD
examples=$(cd .. && pwd)
. "$examples/lib.sh"
need curl curl
need openssl openssl
admin_port=${ADMIN_PORT:-6433}
admin=http://127.0.0.1:$admin_port
mkdir "$work/example"
cp -r fixtures views "$work/example/"
sed "s/:6433/:$admin_port/" rowgate.toml >"$work/example/rowgate.toml"
demo "$work/example"

olga=$("$here/token.sh" olga)
bob=$("$here/token.sh" bob)
call() {
    who=$1 path=$2
    shift 2
    curl --silent --show-error -H "Authorization: Bearer $who" -H 'Content-Type: application/json' "$@" "$admin$path"
    printf '\n'
}
notes() { ask bob 'SELECT id, text FROM notes ORDER BY id'; }

say 'bob may see nothing yet, and for him the table does not exist'
notes
say 'olga, who holds admin:permissions, lets him read notes ...'
call "$olga" /api/permissions/grant -d '{"user": "bob", "permission": "read:notes"}'
say '... and makes him a member of team blue for an hour'
until=$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -v+1H +%Y-%m-%dT%H:%M:%SZ)
call "$olga" /api/roles/grant -d "{\"user\": \"bob\", \"role\": \"blue\", \"until\": \"$until\"}"
say 'his next statement sees what team blue wrote'
notes
say 'granting again changes nothing and says so'
call "$olga" /api/permissions/grant -d '{"user": "bob", "permission": "read:notes"}'
say 'a slip of the pen is pointed out'
call "$olga" /api/permissions/grant -d '{"user": "bob", "permission": "read:note", "strict": true}'
say 'bob cannot help himself to more, nor olga herself'
call "$bob" /api/roles/grant -d '{"user": "bob", "role": "red"}'
call "$olga" /api/roles/grant -d '{"user": "olga", "role": "red"}'
say 'what bob is and may do, for a front end: over HTTP, in SQL, by command'
call "$bob" /api/me
ask bob 'SHOW rowgate.principal'
"$ROWGATE" whoami --user bob --config "$config" | tr -d "\n "; echo
say 'the operator needs no token, but the configuration'
"$ROWGATE" roles --user bob --config "$config"
"$ROWGATE" revoke --user bob --role blue --config "$config"
notes
say 'who did what, when, before and after'
grep '"event":"admin"' "$audit"
