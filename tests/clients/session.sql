-- anne: HRM, Sales and Training. Output is compared with session.out, written by hand.
SELECT SUM(amount) FROM invoices;
TABLE departments ORDER BY name;
SELECT d.name, count(*) AS n, sum(i.amount) AS total
FROM departments d JOIN invoices i ON i.department = d.name
GROUP BY d.name ORDER BY total DESC;
BEGIN;
SELECT count(*) FROM public.transactions;
DELETE FROM invoices;
SELECT 1;
ROLLBACK;
SELECT count(*) FROM "user_roles";
SELECT 1 AS first\; SELECT 2 AS second;
SELECT i.id, i.note FROM invoices AS i WHERE i.note IS NULL ORDER BY i.id;
VALUES (1), (2), (3);
