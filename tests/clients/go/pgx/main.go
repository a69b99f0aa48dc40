// pgx v4: binary results, described and cached statements, batches, a SQL cursor, COPY, nested transactions.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

const total = "SELECT SUM(amount)::text FROM invoices"
const read = "SELECT id, value FROM readings ORDER BY id"

var ctx = context.Background()
var connection *pgx.Conn

func check(name string, run func() error) {
	if err := run(); err != nil {
		fmt.Printf("not ok %s: %s\n", name, strings.Join(strings.Fields(err.Error()), " "))
		return
	}
	fmt.Println("ok", name)
}

func equal(seen, expected interface{}) error {
	if fmt.Sprint(seen) != fmt.Sprint(expected) {
		return fmt.Errorf("saw %v, not %v", seen, expected)
	}
	return nil
}

func refused(err error, state string) error {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return fmt.Errorf("nothing was refused by the server: %v", err)
	}
	return equal(said.Code+" "+said.Message, state+" "+said.Message)
}

func exec(sql string, arguments ...interface{}) error {
	_, err := connection.Exec(ctx, sql, arguments...)
	return err
}

func text(sql string, arguments ...interface{}) (string, error) {
	var value *string
	if err := connection.QueryRow(ctx, sql, arguments...).Scan(&value); err != nil || value == nil {
		return "", err
	}
	return *value, nil
}

// First column, joined by commas.
func column(sql string) (string, error) {
	rows, err := connection.Query(ctx, sql)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return "", err
		}
		names = append(names, name)
	}
	return strings.Join(names, ","), rows.Err()
}

// The readings that follow the first `seen`; how many there are then.
func readings(rows pgx.Rows, seen int64) (int64, error) {
	defer rows.Close()
	for rows.Next() {
		var id int64
		var value int32
		if err := rows.Scan(&id, &value); err != nil {
			return seen, err
		}
		seen++
		if err := equal([]int64{id, int64(value)}, []int64{seen, seen % 100}); err != nil {
			return seen, err
		}
	}
	return seen, rows.Err()
}

func sameText(sql, expected string, arguments ...interface{}) error {
	seen, err := text(sql, arguments...)
	if err != nil {
		return err
	}
	return equal(seen, expected)
}

func cursor() error {
	tx, err := connection.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, "DECLARE big CURSOR FOR "+read); err != nil {
		return err
	}
	seen := int64(0)
	for {
		rows, err := tx.Query(ctx, "FETCH 1000 FROM big")
		if err != nil {
			return err
		}
		before := seen
		if seen, err = readings(rows, seen); err != nil {
			return err
		}
		if seen == before {
			return equal(seen, os.Getenv("EXPECT_READINGS"))
		}
	}
}

func transaction() error {
	write := func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM invoices")
		return err
	}
	if err := refused(connection.BeginFunc(ctx, write), "25006"); err != nil {
		return err
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return connection.BeginTxFunc(ctx, options, func(tx pgx.Tx) error {
		fails := func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, "SELECT 1/0")
			return err
		}
		if err := refused(tx.BeginFunc(ctx, fails), "22012"); err != nil {
			return err
		}
		return sameText(total, os.Getenv("EXPECT_SUM"))
	})
}

func batch() error {
	batch := &pgx.Batch{}
	batch.Queue(total)
	batch.Queue(total+" WHERE department = $1", "HRM")
	results := connection.SendBatch(ctx, batch)
	defer results.Close()
	for _, expected := range []string{os.Getenv("EXPECT_SUM"), "1000.00"} {
		var seen string
		if err := results.QueryRow().Scan(&seen); err != nil {
			return err
		}
		if err := equal(seen, expected); err != nil {
			return err
		}
	}
	return nil
}

func copyOut() error {
	var out bytes.Buffer
	tag, err := connection.PgConn().CopyTo(ctx, &out, "COPY ("+read+") TO STDOUT")
	if err != nil {
		return err
	}
	if err := equal(strings.HasPrefix(out.String(), "1\t1\n2\t2\n"), true); err != nil {
		return err
	}
	return equal(tag.RowsAffected(), os.Getenv("EXPECT_READINGS"))
}

func main() {
	var err error
	// No address: libpq's variables.
	if connection, err = pgx.Connect(ctx, ""); err != nil {
		fmt.Println("not ok connect:", err)
		os.Exit(1)
	}
	defer connection.Close(ctx)
	check("tables", func() error {
		seen, err := column("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1")
		if err != nil {
			return err
		}
		return equal(seen, os.Getenv("EXPECT_TABLES"))
	})
	check("describe", func() error {
		seen, err := column("SELECT column_name FROM information_schema.columns WHERE table_name = 'invoices' ORDER BY ordinal_position")
		if err != nil {
			return err
		}
		return equal(seen, os.Getenv("EXPECT_COLUMNS"))
	})
	check("sum", func() error { return sameText(total, os.Getenv("EXPECT_SUM")) })
	check("parameter", func() error {
		return sameText(total+" WHERE department = $1 AND id > $2", os.Getenv("EXPECT_SUM_OF_SALES"), "Sales", 0)
	})
	check("simple protocol", func() error {
		return sameText(total+" WHERE department = $1", os.Getenv("EXPECT_SUM_OF_SALES"), pgx.QuerySimpleProtocol(true), "Sales")
	})
	check("cursor", cursor)
	check("error", func() error {
		if err := refused(exec("DELETE FROM invoices WHERE id = $1", 1), "25006"); err != nil {
			return err
		}
		if err := refused(exec("SELECT 1/0"), "22012"); err != nil {
			return err
		}
		return sameText(total, os.Getenv("EXPECT_SUM"))
	})
	check("transaction", transaction)
	check("hidden", func() error { return refused(exec("SELECT secret FROM api_keys"), "42P01") })
	check("batch", batch)
	check("copy", copyOut)
}
