// JDBC: DatabaseMetaData, statements, prepared statements, fetch sizes, savepoints. Run as source: java WithJdbc.java.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;

public class WithJdbc {
    interface Check {
        void run() throws Exception;
    }

    static final String TOTAL = "SELECT SUM(amount) FROM invoices";
    static final String READ = "SELECT id, value FROM readings ORDER BY id";
    static Connection connection;

    static String env(String name) {
        return System.getenv(name);
    }

    static void check(String name, Check check) {
        try {
            check.run();
            System.out.println("ok " + name);
        } catch (Throwable error) {
            System.out.println("not ok " + name + ": " + error.toString().replaceAll("\\s+", " "));
        }
    }

    static void equal(Object seen, Object expected) {
        if (!String.valueOf(seen).equals(String.valueOf(expected))) {
            throw new AssertionError("saw " + seen + ", not " + expected);
        }
    }

    static void refused(Check check, String state) throws Exception {
        try {
            check.run();
        } catch (SQLException error) {
            equal(error.getSQLState() + " " + error.getMessage(), state + " " + error.getMessage());
            return;
        }
        throw new AssertionError("nothing was refused");
    }

    static Connection connect(String more) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", env("PGUSER"));
        properties.setProperty("password", env("PGPASSWORD"));
        String url = "jdbc:postgresql://" + env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE");
        return DriverManager.getConnection(url + more, properties);
    }

    static String one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        while (rows.next()) {
            values.add(rows.getString(name));
        }
        rows.close();
        return values;
    }

    static void allReadings(ResultSet rows) throws SQLException {
        long seen = 0;
        while (rows.next()) {
            seen += 1;
            equal(rows.getLong(1) + " " + rows.getInt(2), seen + " " + seen % 100);
        }
        equal(seen, env("EXPECT_READINGS"));
    }

    static void catalogue() {
        check("tables", () -> {
            DatabaseMetaData data = connection.getMetaData();
            List<String> seen = column(data.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME");
            equal(String.join(",", new TreeSet<>(seen)), env("EXPECT_TABLES"));
            equal(column(data.getSchemas(), "TABLE_SCHEM").contains("public"), true);
            equal(column(data.getTables(null, null, "payroll", null), "TABLE_NAME"), List.of());
        });
        check("describe", () -> {
            DatabaseMetaData data = connection.getMetaData();
            List<String> seen = column(data.getColumns(null, "public", "invoices", "%"), "COLUMN_NAME");
            equal(String.join(",", seen), env("EXPECT_COLUMNS"));
            equal(column(data.getColumns(null, "public", "customers", "tax_number"), "COLUMN_NAME"), List.of());
            try (Statement statement = connection.createStatement();
                    ResultSet rows = statement.executeQuery("SELECT id, note FROM invoices")) {
                // Where a column comes from, which the driver looks up by its table's number.
                equal(rows.getMetaData().getColumnName(1), "id");
                rows.getMetaData().isNullable(1);
                rows.getMetaData().isAutoIncrement(1);
            }
        });
        check("keys", () -> {
            DatabaseMetaData data = connection.getMetaData();
            equal(column(data.getPrimaryKeys(null, "public", "invoices"), "COLUMN_NAME"), List.of("id"));
            List<String> keys = column(data.getImportedKeys(null, "public", "invoices"), "PKTABLE_NAME");
            equal(new TreeSet<>(keys), List.of("customers", "departments"));
            List<String> indexes = column(data.getIndexInfo(null, "public", "invoices", false, true), "INDEX_NAME");
            equal(indexes.contains("invoices_date"), true);
            data.getTypeInfo().close();
            data.getFunctions(null, "public", "%").close();
            data.getSQLKeywords();
        });
    }

    static void queries() {
        check("sum", () -> equal(one(connection, TOTAL), env("EXPECT_SUM")));
        check("parameter", () -> {
            try (PreparedStatement statement = connection.prepareStatement(TOTAL + " WHERE department = ? AND id > ?")) {
                // From the fifth time on the driver names the statement and reads binary.
                for (int n = 0; n < 8; n++) {
                    statement.setString(1, "Sales");
                    statement.setLong(2, 0);
                    ResultSet rows = statement.executeQuery();
                    rows.next();
                    BigDecimal sum = rows.getBigDecimal(1);
                    equal(sum == null ? "" : sum.toString(), env("EXPECT_SUM_OF_SALES"));
                }
            }
        });
        check("cursor", () -> {
            try (Connection other = connect(""); Statement statement = other.createStatement()) {
                other.setAutoCommit(false);
                statement.setFetchSize(1000);
                allReadings(statement.executeQuery(READ));
            }
        });
        check("error", () -> {
            refused(() -> one(connection, "DELETE FROM invoices RETURNING id"), "25006");
            refused(() -> one(connection, "SELECT 1/0"), "22012");
            equal(one(connection, "SELECT 1"), "1");
        });
        check("transaction", () -> {
            try (Connection other = connect("?autosave=always")) {
                other.setAutoCommit(false);
                other.setReadOnly(true);
                other.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
                equal(other.getTransactionIsolation(), Connection.TRANSACTION_REPEATABLE_READ);
                refused(() -> one(other, "SELECT 1/0"), "22012");
                equal(one(other, TOTAL), env("EXPECT_SUM"));
                Savepoint savepoint = other.setSavepoint();
                refused(() -> one(other, "DELETE FROM invoices RETURNING id"), "25006");
                other.rollback(savepoint);
                other.commit();
            }
            try (Connection other = connect("")) {
                other.setAutoCommit(false);
                refused(() -> one(other, "SELECT 1/0"), "22012");
                refused(() -> one(other, "SELECT 1"), "25P02");
                other.rollback();
                equal(one(other, TOTAL), env("EXPECT_SUM"));
                other.rollback();
                other.setSchema("public");
                equal(other.getSchema(), "public");
            }
        });
        check("hidden", () -> refused(() -> one(connection, "SELECT secret FROM api_keys"), "42P01"));
        check("simple protocol", () -> {
            try (Connection other = connect("?preferQueryMode=simple")) {
                equal(one(other, TOTAL), env("EXPECT_SUM"));
            }
        });
    }

    public static void main(String[] arguments) throws Exception {
        connection = connect("");
        catalogue();
        queries();
        connection.close();
    }
}
