#!/bin/sh
# Starts the demo with roles from a file, takes one away, breaks the file, and stops.
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
say 'Sales Manager is taken from anne; the new file takes the place of the old one as a whole'
sed 's/, "Sales Manager"//' people.json >"$folder/new"
mv "$folder/new" "$folder/people.json"
until_seen anne 1300.00
show anne
say 'a slip of the pen: the file is not taken, and the last good one stays in force'
sed 's/"HR Manager"\]/"HR Manager"/' people.json >"$folder/new"
mv "$folder/new" "$folder/people.json"
sleep 1
show anne
"$ROWGATE" check --config "$config" 2>&1 | grep people.json | sed "s|/.*/people|people|"
