SELECT count(*) FROM customers;
SELECT string_agg(email, ' ' ORDER BY id) FROM customers;
SELECT sum(amount) FROM loans;
SELECT string_agg(risk_note, ', ' ORDER BY id) FROM loans;
SELECT count(*) FILTER (WHERE suspicious) FROM transactions;
SELECT sum(balance) FROM accounts;
