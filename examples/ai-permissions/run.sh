#!/bin/sh
# Starts the example: a private PostgreSQL with this bank in it, and Rowgate in front of it.
exec "$(dirname "$0")/../demo.sh" --example examples/ai-permissions "$@"
