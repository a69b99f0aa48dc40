#!/bin/sh
# Starts the example, takes a role away and lends one for three seconds, while the gate caches for an hour. Needs psql.
set -eu
cd "$(dirname "$0")"
examples=$(cd ../.. && pwd)
. "$examples/lib.sh"
demo "$PWD"
"$ROWGATE" provider triggers --config "$config" | owner
show bob
say 'his role is taken away in the table: the trigger tells the gate'
owner -c "DELETE FROM user_roles WHERE \"user\" = 'bob'"
until_seen bob ''
show bob
say 'he gets it back for three seconds'
owner -c "INSERT INTO user_roles VALUES ('bob', 'HR Manager', now() + interval '3 s')"
until_seen bob 1300.00
show bob
sleep 3
say 'three seconds later'
show bob
