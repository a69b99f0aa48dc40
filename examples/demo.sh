#!/bin/sh
# The demo in one command: installs what is missing, builds, starts. Arguments go to `rowgate demo`.
set -eu
cd "$(dirname "$0")/.."
./.ci/setup
PATH="$PATH:$HOME/.cargo/bin"
# The first build takes some minutes: PostgreSQL's parser is compiled along.
cargo build --bin rowgate
exec cargo run --quiet --bin rowgate -- demo "$@"
