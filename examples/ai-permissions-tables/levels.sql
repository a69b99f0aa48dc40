-- Permission -> action -> category -> role, and who holds what.
INSERT INTO ai_permissions (api) VALUES ('access_ai_chat'), ('use_ai_loan_tool'), ('fetch_loan'), ('fetch_loan_product'),
    ('use_ai_fraud_tool'), ('fetch_transaction');
INSERT INTO ai_actions (name) VALUES ('Use Loan Analysis Tool'), ('Use Fraud Detection Tool');
INSERT INTO ai_action_permissions (action, permission) VALUES
    ('Use Loan Analysis Tool', 'access_ai_chat'), ('Use Loan Analysis Tool', 'use_ai_loan_tool'),
    ('Use Loan Analysis Tool', 'fetch_loan'), ('Use Loan Analysis Tool', 'fetch_loan_product'),
    ('Use Fraud Detection Tool', 'access_ai_chat'), ('Use Fraud Detection Tool', 'use_ai_fraud_tool'),
    ('Use Fraud Detection Tool', 'fetch_transaction');
INSERT INTO ai_categories (name) VALUES ('Manage AI Assistant'), ('Assess Loans');
INSERT INTO ai_category_actions (category, action) VALUES ('Manage AI Assistant', 'Use Loan Analysis Tool'),
    ('Manage AI Assistant', 'Use Fraud Detection Tool'), ('Assess Loans', 'Use Loan Analysis Tool');
INSERT INTO ai_roles (name) VALUES ('Agent Supervisor');
INSERT INTO ai_role_categories (role, category) VALUES ('Agent Supervisor', 'Manage AI Assistant');

INSERT INTO ai_user_roles (user_id, role) VALUES ('sam', 'Agent Supervisor');
INSERT INTO ai_user_categories (user_id, category) VALUES ('loan-bot', 'Assess Loans');
INSERT INTO ai_user_permissions (user_id, permission) VALUES ('dora', 'fetch_loan');
INSERT INTO ai_superusers (user_id) VALUES ('root');

CREATE TABLE people_branches (person text, branch text);
INSERT INTO people_branches VALUES ('sam', 'Berlin'), ('sam', 'Hamburg'), ('loan-bot', 'Berlin'), ('dora', 'Berlin');

-- What the provider's login may read: this, and nothing else.
GRANT SELECT ON ai_user_roles, ai_user_categories, ai_user_permissions, ai_superusers, ai_role_categories,
    ai_category_actions, ai_action_permissions, people_branches TO rowgate_roles;
