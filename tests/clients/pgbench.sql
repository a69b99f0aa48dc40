\set id random(1, 10000)
SELECT value FROM readings WHERE id = :id;
BEGIN;
SELECT SUM(amount) AS total FROM invoices WHERE id > :below \gset
\if :total <> :expected
SELECT the_sum_is_wrong;
\endif
DECLARE c CURSOR FOR SELECT id, value FROM readings ORDER BY id;
FETCH 10000 FROM c;
MOVE 100000 FROM c;
CLOSE c;
END;
