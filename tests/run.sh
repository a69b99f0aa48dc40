#!/bin/sh
# All tests in one command: installs what is missing, builds, tests. Arguments go to `cargo test`.
set -eu
cd "$(dirname "$0")/.."
./.ci/setup tests
PATH="$PATH:$HOME/.cargo/bin"
exec cargo test --no-fail-fast "$@"
