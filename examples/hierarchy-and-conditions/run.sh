#!/bin/sh
# Starts the example: a private PostgreSQL with the running example's data, and Rowgate in front of it.
exec "$(dirname "$0")/../demo.sh" --example examples/hierarchy-and-conditions "$@"
