#!/bin/sh
# Starts the service, the demo with it, asks as Bob and Anne, takes a role away, and stops. Needs python3.
set -eu
cd "$(dirname "$0")"
examples=$(cd ../.. && pwd)
. "$examples/lib.sh"
need python3 python3
service_port=${SERVICE_PORT:-6391}
cp people.json "$work/people.json"

python3 service.py "$work/people.json" "$service_port" >"$work/service.log" 2>&1 &
started=$!
until_so python3 -c "import socket; socket.create_connection(('127.0.0.1', $service_port))"

mkdir "$work/example"
sed "s/:6391/:$service_port/" rowgate.toml >"$work/example/rowgate.toml"
demo "$work/example"
show bob
show anne
show eve
say 'the service takes Sales Manager from anne'
sed 's/, "Sales Manager"//' people.json >"$work/new.json"
mv "$work/new.json" "$work/people.json"
show anne
