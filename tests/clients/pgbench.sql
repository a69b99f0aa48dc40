\set id random(1, 10000)
SELECT value FROM readings WHERE id = :id;
BEGIN;
SELECT count(*) FROM invoices WHERE id < :id;
END;
