//! Queries that ask about hidden rows, for `barrier.rs`: expressions that may fail, at places where no visible row is asked.

use crate::generate::Dice;

const NUMBERS: [&str; 22] = [
    "t.id",
    "t.i",
    "t.n",
    "t.f",
    "t.dom",
    "t.o",
    "0",
    "1",
    "1e400",
    "1.5::float8",
    "'5'::oid",
    "(SELECT 0)",
    "(SELECT 1e400 LIMIT 1)",
    "(SELECT 0 LIMIT 1)",
    "(SELECT max(n) FROM u)",
    "(SELECT count(*) FROM u)",
    "o.i",
    "o.n",
    "o.f",
    "s.z",
    "s.z",
    "NULL",
];
const QUIET_NUMBERS: [&str; 9] = [
    "t.id",
    "t.i",
    "t.n",
    "t.f",
    "1",
    "1.5::float8",
    "o.n",
    "(SELECT max(n) FROM u)",
    "NULL",
];

/// Makes expressions of a type, with calls in calls as deep as is said.
pub(crate) struct Maker<'d> {
    dice: &'d mut Dice,
    /// Whether it may use the parameters $1 to $3.
    parameters: bool,
    /// Whether `t` has a column `v`.
    derived: bool,
    /// Whether it leaves out most of what may fail by itself, for the sake of the open form.
    quiet: bool,
}

impl<'d> Maker<'d> {
    pub(crate) fn new(dice: &'d mut Dice, parameters: bool) -> Self {
        let quiet = dice.one_in(3);
        Self {
            dice,
            parameters,
            derived: false,
            quiet,
        }
    }
}

impl Maker<'_> {
    /// One of so many ways; if it is to be quiet, of these.
    fn way(&mut self, ways: usize, quiet: &[usize]) -> usize {
        match self.quiet {
            true => *self.dice.pick(quiet),
            false => self.dice.below(ways),
        }
    }

    fn pick(&mut self, from: &[&str]) -> String {
        let picked: &&str = self.dice.pick(from);
        (*picked).to_owned()
    }

    fn number(&mut self, depth: usize) -> String {
        if depth == 0 || self.dice.one_in(4) {
            let numbers: &[&str] = if self.quiet { &QUIET_NUMBERS } else { &NUMBERS };
            let mut leaves = numbers.to_vec();
            if self.parameters {
                leaves.extend(["$1", "$1"]);
            }
            if self.derived {
                leaves.extend(["t.v"; 6]);
            }
            return self.pick(&leaves);
        }
        let depth = depth - 1;
        match self.way(13, &[4, 5, 6, 7, 10, 12]) {
            0..4 => {
                let operator = self.pick(&["+", "-", "*", "/", "%", "/"]);
                format!("({} {operator} {})", self.number(depth), self.number(depth))
            }
            4 => format!("coalesce({}, {})", self.number(depth), self.number(depth)),
            5 => format!("nullif({}, {})", self.number(depth), self.number(depth)),
            6 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(depth),
                self.number(depth),
                self.number(depth)
            ),
            7 => format!(
                "CASE {} WHEN {} THEN {} END",
                self.number(depth),
                self.number(depth),
                self.number(depth)
            ),
            8 => format!(
                "{}::{}",
                self.number(depth),
                self.pick(&["float8", "int", "numeric", "int8", "oid"])
            ),
            9 => format!("{}::int", self.text(depth)),
            10 => format!("length({})", self.text(depth)),
            11 => format!(
                "{}({})",
                self.pick(&["abs", "sqrt", "ln", "-", "round"]),
                self.number(depth)
            ),
            _ => format!("greatest({}, {})", self.number(depth), self.number(depth)),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 || self.dice.one_in(3) {
            let mut leaves = vec![
                "t.note",
                "t.nm",
                "t.other",
                "t.same",
                "t.mask",
                "t.department",
                "'x'",
                "'('",
                "''",
                "(SELECT 'x' LIMIT 1)",
                "o.note",
                "s.w",
                "t.note",
            ];
            if self.quiet {
                leaves = vec!["t.note", "t.nm", "t.department", "'x'", "t.note"];
            }
            if self.parameters {
                leaves.push("$2");
            }
            if self.derived {
                leaves.extend(["t.v"; 4]);
            }
            return self.pick(&leaves);
        }
        let depth = depth - 1;
        match self.way(6, &[1, 2, 3]) {
            0 => format!("({} || {})", self.text(depth), self.text(depth)),
            1 => format!(
                "{}({})",
                self.pick(&["lower", "upper", "btrim"]),
                self.text(depth)
            ),
            2 => format!("left({}, {})", self.text(depth), self.number(depth)),
            3 => format!("coalesce({}, {})", self.text(depth), self.text(depth)),
            4 => format!("t.j ->> {}", self.text(depth)),
            _ => format!("{}::text", self.number(depth)),
        }
    }

    fn moment(&mut self, depth: usize) -> String {
        if depth == 0 || self.dice.one_in(3) {
            return self.pick(&[
                "t.d",
                "t.ts",
                "t.at",
                "now()",
                "current_date",
                "date '5874897-01-01'",
                "timestamp '294276-12-31'",
            ]);
        }
        let depth = depth - 1;
        match self.way(4, &[2, 3]) {
            0 => format!(
                "({} {} interval '999 years')",
                self.moment(depth),
                self.pick(&["+", "-"])
            ),
            1 => format!(
                "date_trunc({}, {})",
                self.pick(&["'month'", "'x'", "t.note"]),
                self.moment(depth)
            ),
            2 => format!(
                "{}::{}",
                self.moment(depth),
                self.pick(&["date", "timestamp", "timestamptz"])
            ),
            _ => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(depth),
                self.moment(depth),
                self.moment(depth)
            ),
        }
    }

    fn array(&mut self, depth: usize) -> String {
        match self.way(8, &[0, 1, 3, 5]) {
            0 => "t.tags".to_owned(),
            1 => "t.nums".to_owned(),
            2 => "t.ratios".to_owned(),
            3 => "ARRAY[1, 2]".to_owned(),
            4 => "t.tags::int[]".to_owned(),
            5 => format!("ARRAY[{}, {}]", self.number(depth), self.number(depth)),
            6 => format!("string_to_array({}, ',')", self.text(depth)),
            _ if self.parameters => "$3".to_owned(),
            _ => "'{1.5}'::float8[]".to_owned(),
        }
    }

    /// Any value.
    fn value(&mut self, depth: usize) -> String {
        match self.dice.below(5) {
            0 | 1 => self.number(depth),
            2 => self.text(depth),
            3 => self.moment(depth),
            _ => self.array(depth),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        let below = depth.saturating_sub(1);
        let compares = ["=", "<>", "<", ">="];
        if depth > 0 && self.dice.one_in(4) {
            let (a, b) = (self.condition(below), self.condition(below));
            return match self.dice.below(4) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                2 => format!("NOT ({a})"),
                _ => format!("CASE WHEN {a} THEN {b} ELSE true END"),
            };
        }
        match self.dice.below(24) {
            0..3 => format!(
                "{} {} {}",
                self.number(below),
                self.pick(&compares),
                self.number(below)
            ),
            3 | 4 => format!(
                "{} {} {}",
                self.text(below),
                self.pick(&compares),
                self.text(below)
            ),
            5 => format!(
                "{} {} {}",
                self.moment(below),
                self.pick(&compares),
                self.moment(below)
            ),
            6 => format!(
                "{} {} {}",
                self.text(below),
                self.pick(&["LIKE", "~", "^@"]),
                self.text(below)
            ),
            7 => format!("{} = ANY ({})", self.value(0), self.array(below)),
            8 => format!(
                "{} IN ({}, {})",
                self.number(0),
                self.number(below),
                self.number(below)
            ),
            9 => format!(
                "{} IN ({}, {})",
                self.moment(0),
                self.moment(below),
                self.moment(0)
            ),
            10 => format!(
                "{} BETWEEN {} AND {}",
                self.text(0),
                self.text(below),
                self.text(0)
            ),
            11 | 12 => format!("{} IS NOT NULL", self.value(below)),
            13 => format!("starts_with({}, {})", self.text(0), self.text(below)),
            14 => format!(
                "EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND {})",
                self.condition(below)
            ),
            _ => self.unusual(below),
        }
    }

    fn unusual(&mut self, depth: usize) -> String {
        match self.dice.below(9) {
            0 => format!(
                "{} {} (SELECT {} FROM u WHERE {})",
                self.number(0),
                self.pick(&["IN", "NOT IN", "= ALL", "< ANY"]),
                self.pick(&["u.n", "u.i", "u.f + 1", "0"]),
                self.condition(depth)
            ),
            1 => format!(
                "({}, {}) >= ({}, {})",
                self.number(0),
                self.text(0),
                self.number(depth),
                self.text(0)
            ),
            2 => format!("t.tags[{}] = {}", self.number(depth), self.text(depth)),
            3 => format!("{} IS DISTINCT FROM {}", self.value(0), self.value(depth)),
            4 => format!("{} SIMILAR TO {}", self.text(0), self.text(depth)),
            5 => format!("{} && {}", self.array(depth), self.array(depth)),
            6 => {
                let output = self.number(depth);
                let output = self.pick(&["1 / count(*)", "max(u.n)", "1 / sum(u.i)", &output]);
                let asked = self.pick(&[
                    "u.id = t.id",
                    "t.i = u.id AND u.f >= 0",
                    "u.id = t.id AND u.i < NULL",
                    "u.id = t.id AND false",
                    "u.id = t.id OR u.id = u.id",
                    "u.id = s.z",
                    "u.i = t.v",
                    "u.id = o.id",
                ]);
                let value = self.number(0);
                self.pick(&[
                    &format!("(SELECT {output} FROM u WHERE {asked}) > {value}"),
                    &format!("EXISTS (SELECT {output} FROM u WHERE {asked} AND u.n > {value})"),
                ])
            }
            7 => format!(
                "({}) IS {}",
                self.condition(depth),
                self.pick(&["TRUE", "NOT FALSE", "UNKNOWN"])
            ),
            _ => self.pick(&[
                "EXISTS (SELECT 1 FROM c WHERE c.z > 0)",
                "EXISTS (SELECT 1 FROM c)",
                "(SELECT count(*) FROM c) > 0",
                "t.n > (SELECT max(c.z) FROM c)",
                "t.id IN (SELECT c.z FROM c)",
                "t.ring < '<(0,0),1>'",
            ]),
        }
    }

    /// Something that no visible row is asked.
    fn guarded(&mut self) -> String {
        let (fine, hidden) = *self.dice.pick(&[
            ("t.id <> 30", "t.id = 30"),
            ("t.id NOT IN (30, 31)", "t.id IN (30, 31)"),
            ("t.note <> 'SECRET'", "t.note = 'SECRET'"),
            ("t.i > 0", "t.i = 0"),
        ]);
        let asked = self.condition(2);
        match self.dice.below(7) {
            0 | 1 => format!("{fine} OR {asked}"),
            2 => format!("CASE WHEN {fine} THEN true ELSE {asked} END"),
            3 => format!("NOT ({hidden} AND {asked})"),
            4 => format!("{hidden} AND {asked}"),
            5 => format!("({fine} OR {asked}) IS NOT FALSE"),
            _ => format!("CASE WHEN {hidden} THEN {} END IS NULL", self.value(2)),
        }
    }

    /// What stands for `t`, with a value `v` of some kind beside the table's columns.
    fn from(&mut self) -> String {
        const COLUMNS: &str = "t0.id, t0.i, t0.n, t0.f, t0.note, nm, d, ts, at, b, o, j, tags, nums, ratios, other, same, dom, \
                               t0.department, mask";
        let value = |maker: &mut Self| {
            let value = maker.value(2).replace("t.", "t0.");
            match maker.dice.one_in(2) {
                true => format!("CASE WHEN t0.id = 30 THEN {value} END"),
                false => value,
            }
        };
        match self.dice.below(20) {
            0..8 => "t".to_owned(),
            8 => format!("(SELECT {COLUMNS}, {} AS v FROM t t0) t", value(self)),
            9 => format!(
                "(SELECT {COLUMNS}, {} AS v FROM t t0 LEFT JOIN u u0 USING (id)) t",
                value(self)
            ),
            10 => format!("(SELECT DISTINCT ON (id) {COLUMNS}, 1 AS v FROM t t0) t"),
            11 => format!(
                "(SELECT DISTINCT {COLUMNS}, {} AS v FROM t t0) t",
                value(self)
            ),
            12 | 13 => format!(
                "(SELECT {COLUMNS}, {} AS v FROM t t0 UNION ALL SELECT {COLUMNS}, {} FROM t t0) t",
                self.number(2).replace("t.", "t0."),
                self.number(2).replace("t.", "t0.")
            ),
            14 => format!(
                "(SELECT {COLUMNS}, {} OVER (PARTITION BY t0.id, t0.note, t0.i) AS v FROM t t0) t",
                self.pick(&["row_number()", "sum(i)", "max(tags)"])
            ),
            15 => format!(
                "(SELECT {COLUMNS}, {} AS v FROM t t0 GROUP BY {COLUMNS}) t",
                self.pick(&["count(*)", "max(note::int)", "sum(1 / (i - 5))"])
            ),
            16 => format!(
                "(SELECT {COLUMNS}, max(n) AS v FROM t t0 GROUP BY GROUPING SETS (({COLUMNS}), (t0.id))) t"
            ),
            17 => "t LEFT JOIN u u9 ON u9.id = t.id".to_owned(),
            18 => format!(
                "t JOIN (SELECT (SELECT {} LIMIT 1) AS f) s9 USING (f)",
                self.pick(&["0", "1e400", "n FROM u", "o.n"])
            ),
            _ => format!(
                "t, LATERAL (SELECT {} AS v FROM u WHERE u.id = 1) l",
                self.value(1)
            ),
        }
    }

    /// A query over `t`, with `o`, a row around it, `s`, beside it with a number `z` and a text `w`, and `c`, in front of it, as they are
    /// used.
    pub(crate) fn query(&mut self) -> String {
        let from = self.from();
        self.derived = from.contains(" AS v") && !from.starts_with("t,");
        let condition = match self.derived && self.dice.one_in(3) {
            true => format!(
                "({}) AND ({} OR t.v IS NOT NULL)",
                self.guarded(),
                self.guarded()
            ),
            false => self.guarded(),
        };
        let used = format!("{condition} {from}");
        let z = self.pick(&["(SELECT 0 LIMIT 1)", "0", "u.i", "u.n"]);
        let beside = format!("(SELECT {z} AS z, u.note AS w FROM u WHERE u.id = 1) s");
        let from = match used.contains("s.z") || used.contains("s.w") {
            true if self.dice.one_in(3) => format!("{from} JOIN {beside} ON true"),
            true => format!("{beside}, {from}"),
            false => from,
        };
        let inner = match self.dice.one_in(8) {
            true => format!(
                "SELECT count(*) AS c FROM (SELECT t.id FROM {from} GROUP BY t.id, t.i, t.n HAVING {}) x",
                condition.replace("t.note", "t.id::text")
            ),
            false if from.ends_with('t') && self.dice.one_in(6) => {
                format!(
                    "SELECT count(*) AS c FROM u u8 JOIN ({from} CROSS JOIN u u7) ON {condition}"
                )
            }
            false => format!("SELECT count(*) AS c FROM {from} WHERE {condition}"),
        };
        let query = match used.contains("o.") {
            true if self.dice.one_in(2) => {
                format!("SELECT max((SELECT c FROM ({inner}) y)) FROM u o")
            }
            true => format!("SELECT max(y.c) FROM u o, LATERAL ({inner}) y"),
            false => inner,
        };
        match used.contains("FROM c") {
            true => {
                self.derived = false;
                let z = self.number(2).replace("t.", "u.").replace("o.", "u.");
                let z = z.replace("s.z", "u.i").replace("s.w", "u.note");
                let how = self.pick(&["", "MATERIALIZED "]);
                format!("WITH c AS {how}(SELECT {z} AS z FROM u) {query}")
            }
            false => query,
        }
    }
}
