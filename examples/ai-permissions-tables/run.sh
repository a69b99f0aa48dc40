#!/bin/sh
# Starts the bank of examples/ai-permissions with the four levels in tables, asks, takes an action out of a category, and stops.
set -eu
cd "$(dirname "$0")"
examples=$(cd .. && pwd)
. "$examples/lib.sh"
folder=$work/example
mkdir "$folder"
cp -r rowgate.toml "$examples/ai-permissions/fixtures" "$examples/ai-permissions/views" "$folder/"
"$ROWGATE" provider tables ai_permissions >"$folder/fixtures/3-tables.sql"
cp levels.sql "$folder/fixtures/4-levels.sql"
demo "$folder"
show_all() { for user in sam loan-bot dora root; do show $user; done; }
question='SELECT count(*) FROM loans'
say "$question"
show_all
question='SELECT count(*) FROM transactions'
say "$question"
show_all
say 'Manage AI Assistant loses the action Use Fraud Detection Tool: a row less'
owner -c "DELETE FROM ai_category_actions WHERE category = 'Manage AI Assistant' AND action = 'Use Fraud Detection Tool'"
show sam
say 'an action that does not exist cannot be referred to'
owner -c "INSERT INTO ai_category_actions VALUES ('Assess Loans', 'Use Loan Tool')" 2>&1 | head -n 1
