#!/bin/sh
# The demo in one command: installs what is missing, builds, starts. Arguments go to `rowgate demo`.
set -eu
# Built already: then it may be said which program.
[ -z "${ROWGATE:-}" ] || exec "$ROWGATE" demo "$@"
root=$(cd "$(dirname "$0")/.." && pwd)
(cd "$root" && ./.ci/setup)
PATH="$PATH:$HOME/.cargo/bin"
# The first build takes some minutes: PostgreSQL's parser is compiled along.
cargo build --manifest-path "$root/Cargo.toml" --bin rowgate
exec cargo run --manifest-path "$root/Cargo.toml" --quiet --bin rowgate -- demo "$@"
