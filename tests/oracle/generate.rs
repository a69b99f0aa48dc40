//! Queries over the running example, made from a seed: joins, aggregates, subqueries, CTEs, set operations,
//! windows. Each has one answer whatever the plan: no LIMIT without a total order, no floats, no ties that
//! a window could tell apart. Some fail (a division by zero is told alike by everybody).

/// splitmix64 (Steele, Lea, Flood 2014): the same queries on every machine and version.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n as u64)).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Number,
    Text,
    Day,
}

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Type)],
}

const TABLES: &[Table] = &[
    Table {
        name: "invoices",
        columns: &[
            ("id", Type::Number),
            ("amount", Type::Number),
            ("date", Type::Day),
            ("department", Type::Text),
            ("customer_id", Type::Number),
            ("note", Type::Text),
        ],
    },
    Table {
        name: "customers",
        columns: &[
            ("id", Type::Number),
            ("name", Type::Text),
            ("department", Type::Text),
            ("country", Type::Text),
            ("email", Type::Text),
            ("since", Type::Day),
        ],
    },
    Table {
        name: "transactions",
        columns: &[
            ("id", Type::Number),
            ("invoice_id", Type::Number),
            ("department", Type::Text),
            ("amount", Type::Number),
            ("method", Type::Text),
        ],
    },
    Table {
        name: "departments",
        columns: &[
            ("name", Type::Text),
            ("city", Type::Text),
            ("budget", Type::Number),
        ],
    },
    Table {
        name: "employees",
        columns: &[
            ("id", Type::Number),
            ("name", Type::Text),
            ("department", Type::Text),
            ("title", Type::Text),
            ("hired", Type::Day),
        ],
    },
    Table {
        name: "permissions",
        columns: &[("department", Type::Text), ("allowed_role", Type::Text)],
    },
    Table {
        name: "user_roles",
        columns: &[("\"user\"", Type::Text), ("role", Type::Text)],
    },
];

/// A column in scope: `alias.name` and its type.
type Scope = Vec<(String, Type)>;

/// One query.
pub(crate) fn query(dice: &mut Dice) -> String {
    match dice.below(10) {
        0 => {
            let operation = ["UNION", "UNION ALL", "INTERSECT", "EXCEPT"];
            let type_ = *dice.pick(&[Type::Number, Type::Text]);
            let (left, right) = (column_query(dice, type_), column_query(dice, type_));
            format!("{left} {} {right}", dice.pick(&operation))
        }
        1 => {
            let body = column_query(dice, Type::Number);
            format!("WITH w AS ({body}) SELECT count(*), sum(w.x) FROM w")
        }
        2 => {
            // A WITH query that takes a table's name.
            let table = dice.pick(TABLES);
            let (name, column) = (table.name, dice.pick(table.columns).0);
            format!(
                "WITH {name} AS (SELECT {column} AS x FROM {name}) SELECT x, count(*) FROM {name} GROUP BY x"
            )
        }
        3 => {
            let inner = plain(dice);
            format!("SELECT count(*) FROM ({inner}) q")
        }
        4 => window(dice),
        5 | 6 => grouped(dice),
        _ => plain(dice),
    }
}

/// FROM with one to three tables, and what is in scope then.
fn from(dice: &mut Dice) -> (String, Scope) {
    let mut text = String::new();
    let mut scope: Scope = Vec::new();
    for (number, alias) in ["a", "b", "c"]
        .into_iter()
        .enumerate()
        .take(1 + dice.below(3))
    {
        let table = dice.pick(TABLES);
        let qualified = if dice.one_in(4) { "public." } else { "" };
        let item = format!("{qualified}{} {alias}", table.name);
        let added: Scope = table
            .columns
            .iter()
            .map(|(column, type_)| (format!("{alias}.{column}"), *type_))
            .collect();
        if number == 0 {
            text = item;
        } else {
            let on = join_condition(dice, &scope, &added);
            let kind = dice.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "INNER JOIN"]);
            text = if dice.one_in(6) {
                format!("{text} CROSS JOIN {item}")
            } else {
                format!("{text} {kind} {item} ON {on}")
            };
        }
        scope.extend(added);
    }
    (text, scope)
}

fn join_condition(dice: &mut Dice, left: &Scope, right: &Scope) -> String {
    let pairs: Vec<(&str, &str)> = left
        .iter()
        .flat_map(|(a, s)| {
            right
                .iter()
                .filter(move |(_, t)| s == t)
                .map(move |(b, _)| (a.as_str(), b.as_str()))
        })
        .collect();
    let (a, b) = dice.pick(&pairs);
    format!("{a} = {b}")
}

fn column_of(dice: &mut Dice, scope: &Scope, type_: Type) -> Option<String> {
    let fitting: Vec<&String> = scope
        .iter()
        .filter(|(_, t)| *t == type_)
        .map(|(name, _)| name)
        .collect();
    (!fitting.is_empty()).then(|| (*dice.pick(&fitting)).clone())
}

fn literal(dice: &mut Dice, type_: Type) -> String {
    match type_ {
        Type::Number => dice
            .pick(&["1", "3", "4", "100", "250.00", "0", "1200", "-5"])
            .to_string(),
        Type::Text => dice
            .pick(&[
                "'HRM'",
                "'Sales'",
                "'Training'",
                "'Finance'",
                "'NL'",
                "'card'",
                "'4501'",
                "'x'",
                "NULL",
            ])
            .to_string(),
        Type::Day => dice
            .pick(&[
                "date '2025-02-01'",
                "date '2020-01-01'",
                "'2025-03-15'::date",
            ])
            .to_string(),
    }
}

fn scalar(dice: &mut Dice, scope: &Scope, type_: Type) -> String {
    let Some(column) = column_of(dice, scope, type_) else {
        return literal(dice, type_);
    };
    match (dice.below(8), type_) {
        (0, Type::Number) => format!("({column} + 1)"),
        (1, Type::Number) => format!("coalesce({column}, 0)"),
        (2, Type::Number) => format!("CASE WHEN {column} > 100 THEN {column} ELSE 0 END"),
        (3, Type::Number) => format!("abs({column} - 250)"),
        (0, Type::Text) => format!("upper({column})"),
        (1, Type::Text) => format!("coalesce({column}, 'none')"),
        (2, Type::Text) => format!("substring({column} FROM 1 FOR 2)"),
        (3, Type::Text) => format!("({column} || '-')"),
        (0, Type::Day) => format!("({column} + 1)"),
        (1, Type::Day) => format!("date_trunc('month', {column})::date"),
        _ => column,
    }
}

fn condition(dice: &mut Dice, scope: &Scope, depth: usize) -> String {
    let type_ = *dice.pick(&[Type::Number, Type::Text, Type::Day]);
    let left = scalar(dice, scope, type_);
    match dice.below(12) {
        0 if depth > 0 => {
            let (a, b) = (
                condition(dice, scope, depth - 1),
                condition(dice, scope, depth - 1),
            );
            format!("({a} {} {b})", dice.pick(&["AND", "OR"]))
        }
        1 if depth > 0 => format!("NOT ({})", condition(dice, scope, depth - 1)),
        2 if depth > 0 && type_ != Type::Day => {
            format!(
                "{left} {} ({})",
                dice.pick(&["IN", "NOT IN"]),
                column_query(dice, type_)
            )
        }
        3 if depth > 0 => {
            let (table, column) = (dice.pick(TABLES).name, scalar(dice, scope, Type::Text));
            let inner = if matches!(table, "departments" | "user_roles") {
                "z"
            } else {
                "z.department"
            };
            let inner = if inner == "z" { "'HRM'" } else { inner };
            format!("EXISTS (SELECT 1 FROM {table} z WHERE {inner} = {column})")
        }
        4 if depth > 0 && type_ == Type::Number => {
            format!("{left} > (SELECT avg(z.amount) FROM invoices z)")
        }
        5 => format!("{left} IS NOT NULL"),
        6 if type_ == Type::Text => {
            format!("{left} LIKE {}", dice.pick(&["'%a%'", "'S%'", "'45__'"]))
        }
        7 if type_ == Type::Text => format!("{left} ~ '^[0-9]+$'"),
        8 => {
            let (low, high) = (literal(dice, type_), literal(dice, type_));
            format!("{left} BETWEEN {low} AND {high}")
        }
        9 if type_ == Type::Number => format!("{left} / 2 > {}", literal(dice, type_)),
        10 if type_ == Type::Number => format!("100 / ({left} - 251) < 5"),
        _ => {
            let operator = dice.pick(&["=", "<>", "<", ">=", "IS DISTINCT FROM"]);
            format!("{left} {operator} {}", literal(dice, type_))
        }
    }
}

/// A query of one column `x`.
fn column_query(dice: &mut Dice, type_: Type) -> String {
    let (from, scope) = from(dice);
    let column = column_of(dice, &scope, type_).unwrap_or_else(|| literal(dice, type_));
    let column = match type_ {
        Type::Number => format!("{column}::numeric"),
        Type::Text | Type::Day => column,
    };
    let condition = condition(dice, &scope, 0);
    format!("SELECT {column} AS x FROM {from} WHERE {condition}")
}

fn plain(dice: &mut Dice) -> String {
    let (from, scope) = from(dice);
    let distinct = if dice.one_in(5) { "DISTINCT " } else { "" };
    let mut list = Vec::new();
    for number in 0..=dice.below(4) {
        let type_ = *dice.pick(&[Type::Number, Type::Text, Type::Day]);
        list.push(format!("{} AS c{number}", scalar(dice, &scope, type_)));
    }
    if distinct.is_empty() && dice.one_in(6) {
        list = vec![(*dice.pick(&["*", "a.*"])).to_owned()];
        if list[0] == "*" && scope.len() > 7 {
            list[0] = "a.*".to_owned();
        }
    } else if dice.one_in(6) {
        list.push("(SELECT max(z.amount) FROM invoices z WHERE z.amount < 5000) AS top".to_owned());
    }
    let filter = if dice.one_in(4) {
        String::new()
    } else {
        format!(" WHERE {}", condition(dice, &scope, 2))
    };
    format!("SELECT {distinct}{} FROM {from}{filter}", list.join(", "))
}

fn grouped(dice: &mut Dice) -> String {
    let (from, scope) = from(dice);
    let key_type = *dice.pick(&[Type::Text, Type::Text, Type::Day]);
    let key = column_of(dice, &scope, key_type).unwrap_or_else(|| scope[0].0.clone());
    let number = scalar(dice, &scope, Type::Number);
    let aggregate = match dice.below(6) {
        0 => "count(*)".to_owned(),
        1 => format!("sum({number})"),
        2 => format!("min({number}), max({number})"),
        3 => format!("count(DISTINCT {number})"),
        4 => format!("count(*) FILTER (WHERE {})", condition(dice, &scope, 0)),
        _ => format!("array_agg(DISTINCT {number} ORDER BY {number})"),
    };
    let filter = condition(dice, &scope, 1);
    let having = if dice.one_in(3) {
        " HAVING count(*) > 1"
    } else {
        ""
    };
    let by = match dice.below(5) {
        0 => format!("ROLLUP ({key})"),
        1 => format!("GROUPING SETS (({key}), ())"),
        _ => key.clone(),
    };
    format!("SELECT {key} AS k, {aggregate} FROM {from} WHERE {filter} GROUP BY {by}{having}")
}

fn window(dice: &mut Dice) -> String {
    let table = &TABLES[dice.below(3)];
    let function = dice.pick(&[
        "row_number() OVER (ORDER BY a.id)",
        "rank() OVER (PARTITION BY a.department ORDER BY a.id DESC)",
        "count(*) OVER (PARTITION BY a.department)",
        "sum(a.id) OVER (ORDER BY a.id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "lag(a.id) OVER (ORDER BY a.id)",
    ]);
    let filter = dice.pick(&["", " WHERE a.id > 2", " WHERE a.department <> 'HRM'"]);
    if dice.one_in(2) {
        format!("SELECT a.id, {function} AS w FROM {} a{filter}", table.name)
    } else {
        format!(
            "SELECT * FROM (SELECT a.*, {function} AS w FROM {} a{filter}) q WHERE w > 1",
            table.name
        )
    }
}
