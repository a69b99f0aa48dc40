#!/bin/sh
# Starts a stand-in for Keto, the demo with it, asks as three users, takes a tuple away, and stops. Needs python3 and curl.
set -eu
cd "$(dirname "$0")"
examples=$(cd ../.. && pwd)
. "$examples/lib.sh"
need python3 python3
need curl curl
service_port=${SERVICE_PORT:-6392}
keto=http://127.0.0.1:$service_port
question="SELECT string_agg(title, ', ' ORDER BY id) FROM documents"

python3 keto.py "$service_port" >"$work/keto.log" 2>&1 &
started=$!
until_so curl -s "$keto/relation-tuples"
write() { # NAMESPACE OBJECT RELATION SUBJECT
    curl -s -o /dev/null -X PUT "$keto/admin/relation-tuples" \
        -d "{\"namespace\": \"$1\", \"object\": \"$2\", \"relation\": \"$3\", $4}"
}
set_of() { printf '"subject_set": {"namespace": "%s", "object": "%s", "relation": "%s"}' "$@"; }
write document diary owner '"subject_id": "anne"'
write document plan parent "$(set_of folder work '')"
write document budget parent "$(set_of folder money '')"
write folder money parent "$(set_of folder work '')"
write folder work viewer "$(set_of group staff member)"
write folder money viewer '"subject_id": "bob"'
write group staff member '"subject_id": "anne"'
write group staff member "$(set_of group interns member)"
write group interns member '"subject_id": "bob"'

mkdir "$work/example"
cp -r fixtures views "$work/example/"
sed "s/:6392/:$service_port/" rowgate.toml >"$work/example/rowgate.toml"
demo "$work/example"
show anne
show bob
show eve
say 'DELETE group:interns#member@bob'
curl -s -X DELETE "$keto/admin/relation-tuples?namespace=group&object=interns&relation=member&subject_id=bob"
show bob
say 'Keto itself: check, for the budget and the plan'
for object in budget plan; do
    curl -s "$keto/relation-tuples/check?namespace=document&object=$object&relation=viewer&subject_id=bob"
    echo
done
