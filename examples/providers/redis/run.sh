#!/bin/sh
# Starts a Redis, the demo with it, asks as Bob and Anne, takes a role away, and stops. Needs redis-server.
set -eu
cd "$(dirname "$0")"
examples=$(cd ../.. && pwd)
. "$examples/lib.sh"
need redis-server redis-server
redis_port=${REDIS_PORT:-6390}
redis() { redis-cli -p "$redis_port" --no-auth-warning -a owner "$@" >/dev/null; }

redis-server "$PWD/redis.conf" --port "$redis_port" --dir "$work" >"$work/redis.log" 2>&1 &
started=$!
until_so redis PING
redis SADD user_roles:bob 'HR Manager'
redis SADD user_roles:anne 'HR Manager' 'Sales Manager'
redis SADD 'role_permissions:HR Manager' read:salaries

mkdir "$work/example"
sed "s/:6390/:$redis_port/" rowgate.toml >"$work/example/rowgate.toml"
demo "$work/example"
show bob
show anne
say 'SREM user_roles:anne "Sales Manager"; PUBLISH rowgate_invalidate anne'
redis EVAL "redis.call('SREM', KEYS[1], ARGV[1]) return redis.call('PUBLISH', ARGV[2], ARGV[3])" 1 \
    user_roles:anne 'Sales Manager' rowgate_invalidate anne
until_seen anne 1300.00
show anne
