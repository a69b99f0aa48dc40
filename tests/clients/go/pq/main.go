// lib/pq behind database/sql: text results, prepared statements, a connection pool, transactions.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/lib/pq"
)

const total = "SELECT SUM(amount) FROM invoices"

var db *sql.DB

type asker interface {
	Query(query string, arguments ...interface{}) (*sql.Rows, error)
}

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
	var said *pq.Error
	if !errors.As(err, &said) {
		return fmt.Errorf("nothing was refused by the server: %v", err)
	}
	return equal(string(said.Code)+" "+said.Message, state+" "+said.Message)
}

// First column, joined by commas; NULL is nothing.
func column(from asker, query string, arguments ...interface{}) (string, error) {
	rows, err := from.Query(query, arguments...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name sql.NullString
		if err := rows.Scan(&name); err != nil {
			return "", err
		}
		names = append(names, name.String)
	}
	return strings.Join(names, ","), rows.Err()
}

func same(expected, query string, arguments ...interface{}) error {
	seen, err := column(db, query, arguments...)
	if err != nil {
		return err
	}
	return equal(seen, expected)
}

func fails(from asker, query, state string) error {
	_, err := column(from, query)
	return refused(err, state)
}

// database/sql reads rows as they come; lib/pq has no other cursor.
func cursor() error {
	rows, err := db.Query("SELECT id, value FROM readings WHERE id > $1 ORDER BY id", 0)
	if err != nil {
		return err
	}
	defer rows.Close()
	seen := int64(0)
	for rows.Next() {
		var id, value int64
		if err := rows.Scan(&id, &value); err != nil {
			return err
		}
		seen++
		if err := equal([]int64{id, value}, []int64{seen, seen % 100}); err != nil {
			return err
		}
	}
	if rows.Err() != nil {
		return rows.Err()
	}
	return equal(seen, os.Getenv("EXPECT_READINGS"))
}

func transaction() error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	if err := fails(tx, "DELETE FROM invoices", "25006"); err != nil {
		return err
	}
	if err := fails(tx, "SELECT 1", "25P02"); err != nil {
		return err
	}
	if err := tx.Rollback(); err != nil {
		return err
	}
	tx, err = db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	seen, err := column(tx, total)
	if err != nil {
		return err
	}
	if err := equal(seen, os.Getenv("EXPECT_SUM")); err != nil {
		return err
	}
	return tx.Commit()
}

func main() {
	var err error
	// The rest comes from libpq's variables.
	if db, err = sql.Open("postgres", "sslmode=disable"); err != nil {
		fmt.Println("not ok connect:", err)
		os.Exit(1)
	}
	defer db.Close()
	check("tables", func() error {
		return same(os.Getenv("EXPECT_TABLES"), "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1")
	})
	check("describe", func() error {
		return same(os.Getenv("EXPECT_COLUMNS"), "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position", "invoices")
	})
	check("sum", func() error { return same(os.Getenv("EXPECT_SUM"), total) })
	check("parameter", func() error {
		if err := same("1,2", "SELECT id FROM invoices WHERE id = ANY ($1) ORDER BY id", pq.Array([]int64{1, 2})); err != nil {
			return err
		}
		return same(os.Getenv("EXPECT_SUM_OF_SALES"), total+" WHERE department = $1", "Sales")
	})
	check("cursor", cursor)
	check("error", func() error {
		if err := fails(db, "DELETE FROM invoices", "25006"); err != nil {
			return err
		}
		if err := fails(db, "SELECT 1/0", "22012"); err != nil {
			return err
		}
		return same(os.Getenv("EXPECT_SUM"), total)
	})
	check("transaction", transaction)
	check("hidden", func() error { return fails(db, "SELECT secret FROM api_keys", "42P01") })
}
