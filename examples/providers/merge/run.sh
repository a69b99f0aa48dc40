#!/bin/sh
# Starts the demo with two providers, shows what they come to and who gave what, lets one fail, and stops.
set -eu
cd "$(dirname "$0")"
examples=$(cd ../.. && pwd)
. "$examples/lib.sh"
folder=$work/example
mkdir "$folder"
cp rowgate.toml people.json "$folder/"
demo "$folder"
show bob
show anne
say 'who gave which role: rowgate explain'
for user in bob anne; do
    "$ROWGATE" explain --config "$config" --user $user 'SELECT SUM(amount) FROM invoices' | grep '^roles'
done
say 'and the audit'
grep '"event":"request"' "$audit" | tail -n 2 | sed 's/.*\("user_id":"[^"]*"\).*\("role_sources":{[^}]*}\).*/\1 \2/'
say 'a provider that cannot answer refuses: never "no roles, carry on", nor "without its denials"'
mv "$folder/people.json" "$folder/gone.json"
sleep 1
show anne
