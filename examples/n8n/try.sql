SELECT SUM(amount) FROM invoices;
