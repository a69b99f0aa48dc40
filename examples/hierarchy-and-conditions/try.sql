SELECT sum(amount) FROM invoices;
SELECT sum(salary) FROM employees;
SELECT count(DISTINCT department) FROM employees;
