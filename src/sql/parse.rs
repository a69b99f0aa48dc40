//! Text to sqlparser's tree: one statement, bounded, with the token-level translations that let it read
//! more of PostgreSQL's grammar than it does by itself.
//!
//! A translation here can be wrong only in the direction of refusal: what is printed back is compared,
//! tree by tree, with libpg_query's reading of the caller's own text (`same_meaning`).

use super::{pg, scan, statement};
use crate::error::{Reason, Refusal};
use crate::limits::Limits;
use sqlparser::ast::{Query, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Word};
use std::collections::HashSet;

/// The caller's one statement, parsed and not yet judged.
pub(super) struct Parsed {
    /// sqlparser's tree.
    pub query: Box<Query>,
    /// Every identifier in the text, folded; a name Rowgate makes up must not be among them.
    pub names: HashSet<String>,
    /// Names that may be CTEs of the caller's own (a superset).
    pub cte_names: HashSet<String>,
    /// The highest `$n` in the text.
    pub parameters: u16,
}

/// Parses one SELECT.
///
/// # Errors
/// `SyntaxError`, `MultipleStatements`, `NotARead` and the limits' refusals; never panics on any text.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<Parsed, Refusal> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|_| not_parsed(text, limits))?;
    if tokens.len() > limits.sql_tokens_max {
        return Err(
            Refusal::new(Reason::TooLarge, "the statement has too many tokens").hint(format!(
                "Send a statement of at most {} tokens.",
                limits.sql_tokens_max
            )),
        );
    }
    let parameters = highest_parameter(&tokens, limits)?;
    let tokens = translate(tokens);
    let (names, cte_names) = names(&tokens);
    let mut statements = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(limits.sql_depth_max)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|_| not_parsed(text, limits))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(Parsed {
            query,
            names,
            cte_names,
            parameters,
        }),
        (Some(_), true) => Err(not_a_query(text, limits)),
        (Some(_), false) => Err(several()),
        (None, true | false) => {
            Err(Refusal::new(Reason::SyntaxError, "the query is empty").hint("Send one SELECT."))
        }
    }
}

fn several() -> Refusal {
    Refusal::new(
        Reason::MultipleStatements,
        "more than one statement in one request",
    )
    .hint("Send one SELECT at a time.")
}

/// What libpg_query has to say about a text sqlparser could not read: its syntax error if there is one,
/// else that the syntax is PostgreSQL's but not supported here.
fn not_parsed(text: &str, limits: &Limits) -> Refusal {
    match pg::statements(text) {
        Err(refusal) => refusal,
        Ok(statements) if statements.len() > 1 => several(),
        Ok(statements) => match statements.first() {
            Some(statement) if pg::select(statement).is_none() => not_a_query(text, limits),
            // PostgreSQL answers SELECT alone with a row of no columns.
            Some(_) | None if is_bare(text) => Refusal::new(
                Reason::UnsupportedSyntax,
                "SELECT without columns and tables is not supported here",
            )
            .hint("Send SELECT 1."),
            Some(_) | None => Refusal::new(Reason::UnsupportedSyntax, "this syntax is not supported here").hint(
                "Write the query with plainer SQL: joins, subqueries, CASE, ordinary function calls.",
            ),
        },
    }
}

/// Whether the text is the word SELECT and nothing more.
fn is_bare(text: &str) -> bool {
    let mut tokens = scan::tokens(text).filter(|token| {
        let semicolon = text.get(token.start..token.end) == Some(";");
        !semicolon && !matches!(token.kind, scan::Kind::Space | scan::Kind::Comment)
    });
    let first = tokens
        .next()
        .and_then(|token| text.get(token.start..token.end));
    first.is_some_and(|word| word.eq_ignore_ascii_case("select")) && tokens.next().is_none()
}

fn not_a_query(text: &str, limits: &Limits) -> Refusal {
    let fallback = || {
        Refusal::new(Reason::NotARead, "only SELECT is possible here")
            .hint("Send one SELECT; this connection only reads.")
    };
    match statement::split(text, limits) {
        Err(refusal) => refusal,
        Ok(statements) => match statements.into_iter().next().map(|s| s.kind) {
            Some(statement::StatementKind::Refused(refusal)) => refusal,
            Some(_) | None => fallback(),
        },
    }
}

fn highest_parameter(tokens: &[TokenWithSpan], limits: &Limits) -> Result<u16, Refusal> {
    let mut highest = 0;
    for token in tokens {
        if let Token::Placeholder(name) = &token.token {
            let number = name
                .strip_prefix('$')
                .and_then(|digits| digits.parse::<u16>().ok());
            match number {
                Some(number) if number > 0 && usize::from(number) <= limits.parameters_max => {
                    highest = highest.max(number);
                }
                Some(_) | None => {
                    return Err(Refusal::new(
                        Reason::SyntaxError,
                        format!("there is no parameter {name}"),
                    )
                    .hint(format!(
                        "Number parameters $1, $2, ... up to ${}.",
                        limits.parameters_max
                    )));
                }
            }
        }
    }
    Ok(highest)
}

/// PostgreSQL spellings sqlparser cannot read, turned into ones it can, token by token.
fn translate(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // The last token that is not white space.
    let mut before: Option<Token> = None;
    for token in tokens {
        let span = token.span;
        match &token.token {
            // `TABLE t` is `SELECT * FROM t` (SELECT reference page, "TABLE Command").
            Token::Word(word)
                if word.keyword == Keyword::TABLE && starts_query(before.as_ref()) =>
            {
                push_words(&mut out, span, &["SELECT"]);
                out.push(TokenWithSpan::new(Token::Mul, span));
                push_words(&mut out, span, &["FROM"]);
            }
            // `x ISNULL` and `x NOTNULL` (manual, section 9.2).
            Token::Word(word)
                if word.quote_style.is_none()
                    && word.value.eq_ignore_ascii_case("isnull")
                    && ends_operand(before.as_ref()) =>
            {
                push_words(&mut out, span, &["IS", "NULL"]);
            }
            Token::Word(word)
                if word.quote_style.is_none()
                    && word.value.eq_ignore_ascii_case("notnull")
                    && ends_operand(before.as_ref()) =>
            {
                push_words(&mut out, span, &["IS", "NOT", "NULL"]);
            }
            // `LIMIT ALL` is `LIMIT NULL` (SELECT reference page, "LIMIT Clause"); the printer would drop ALL.
            Token::Word(word)
                if word.keyword == Keyword::ALL
                    && before
                        .as_ref()
                        .is_some_and(|token| is_word(token, &[Keyword::LIMIT])) =>
            {
                push_words(&mut out, span, &["NULL"]);
            }
            // No keyword in PostgreSQL; sqlparser would want OF behind it.
            Token::Word(word) if word.keyword == Keyword::MEMBER => {
                let plain = Word {
                    keyword: Keyword::NoKeyword,
                    ..word.clone()
                };
                out.push(TokenWithSpan::new(Token::Word(plain), span));
            }
            // Any other token is itself; a token is not syntax-tree input we judge.
            other => out.push(TokenWithSpan::new(other.clone(), span)),
        }
        if !matches!(token.token, Token::Whitespace(_)) {
            before = Some(token.token);
        }
    }
    out
}

fn push_words(out: &mut Vec<TokenWithSpan>, span: Span, words: &[&str]) {
    for word in words {
        let space = Token::Whitespace(sqlparser::tokenizer::Whitespace::Space);
        out.push(TokenWithSpan::new(space.clone(), span));
        out.push(TokenWithSpan::new(Token::make_keyword(word), span));
        out.push(TokenWithSpan::new(space, span));
    }
}

fn starts_query(before: Option<&Token>) -> bool {
    match before {
        None => true,
        Some(Token::LParen | Token::SemiColon) => true,
        Some(Token::Word(word)) => matches!(
            word.keyword,
            Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::ALL
                | Keyword::DISTINCT
        ),
        Some(_) => false,
    }
}

fn ends_operand(before: Option<&Token>) -> bool {
    match before {
        Some(
            Token::RParen | Token::RBracket | Token::Number(..) | Token::SingleQuotedString(_),
        ) => true,
        Some(Token::Placeholder(_)) => true,
        Some(Token::Word(word)) => !matches!(
            word.keyword,
            Keyword::SELECT
                | Keyword::WHERE
                | Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::ON
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE
                | Keyword::BY
                // `attnotnull AS notnull`: a name, which DuckDB asks for.
                | Keyword::AS
        ),
        Some(_) | None => false,
    }
}

/// All identifiers, and those in front of `AS (` or `AS MATERIALIZED (`, which may name a CTE.
fn names(tokens: &[TokenWithSpan]) -> (HashSet<String>, HashSet<String>) {
    let significant: Vec<&Token> = tokens
        .iter()
        .map(|token| &token.token)
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    let mut names = HashSet::new();
    let mut cte_names = HashSet::new();
    for (index, token) in significant.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        names.insert(fold_word(word));
        if word.keyword != Keyword::AS {
            continue;
        }
        let follows_cte = significant
            .iter()
            .skip(index + 1)
            .find(|token| !is_word(token, &[Keyword::NOT, Keyword::MATERIALIZED]))
            .is_some_and(|token| matches!(token, Token::LParen));
        if follows_cte && let Some(Token::Word(name)) = word_before(&significant, index) {
            cte_names.insert(fold_word(name));
        }
    }
    (names, cte_names)
}

/// The word before `index`, stepping over one parenthesized column list.
fn word_before<'t>(tokens: &[&'t Token], index: usize) -> Option<&'t Token> {
    let mut at = index.checked_sub(1)?;
    if matches!(tokens.get(at)?, Token::RParen) {
        while !matches!(tokens.get(at)?, Token::LParen) {
            at = at.checked_sub(1)?;
        }
        at = at.checked_sub(1)?;
    }
    tokens.get(at).copied()
}

fn is_word(token: &Token, keywords: &[Keyword]) -> bool {
    matches!(token, Token::Word(word) if keywords.contains(&word.keyword))
}

fn fold_word(word: &Word) -> String {
    if word.quote_style.is_some() {
        word.value.clone()
    } else {
        word.value.to_ascii_lowercase()
    }
}
