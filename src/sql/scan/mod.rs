//! A cheap look at a text before any parser sees it: its bounds, and whether it is one plain query.
//!
//! This is not a judge of meaning. Being wrong here costs a refusal or a hint; what a text means is
//! decided by the two parsers. It follows the lexical rules of the PostgreSQL manual, section 4.1, with
//! `standard_conforming_strings` on.

use crate::error::{Reason, Refusal};
use crate::limits::Limits;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// White space.
    Space,
    /// `-- ...` or `/* ... */`.
    Comment,
    /// A string, in quotes or dollar quotes.
    Text,
    /// An identifier in double quotes.
    Quoted,
    /// A number.
    Number,
    /// A keyword or a plain identifier.
    Word,
    /// A run of operator characters, or `::`.
    Operator,
    /// A single character of anything else, or a parameter.
    Other,
}

/// One token: bytes `start..end` of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// For a comment, how deep comments nest in it.
    pub(crate) nesting: usize,
}

/// The tokens of a text, white space and comments included.
pub(crate) fn tokens(text: &str) -> Tokens<'_> {
    Tokens {
        text: text.as_bytes(),
        at: 0,
    }
}

/// See [`tokens`].
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

/// White space.
const SPACE: u8 = 1;
/// What a plain identifier starts with.
const STARTS_WORD: u8 = 1 << 1;
/// What it goes on with.
const CONTINUES_WORD: u8 = 1 << 2;
/// What operators consist of.
const OPERATOR: u8 = 1 << 3;
/// What a number goes on with.
const NUMBER: u8 = 1 << 4;
const DIGIT: u8 = 1 << 5;

/// What each byte may be part of. A table, because every byte of every text is looked up, more than once.
#[allow(
    clippy::indexing_slicing,
    reason = "worked out by the compiler, which refuses what is out of bounds"
)]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte: u8 = 0;
    loop {
        classes[byte as usize] = classes_of(byte);
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

const fn classes_of(byte: u8) -> u8 {
    match byte {
        b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
        b'0'..=b'9' => DIGIT | NUMBER | CONTINUES_WORD,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => STARTS_WORD | CONTINUES_WORD | NUMBER,
        0x80..=0xff => STARTS_WORD | CONTINUES_WORD,
        b'$' => CONTINUES_WORD,
        b'.' => NUMBER,
        b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*'
        | b'/' | b'%' | b'<' | b'>' | b'=' => OPERATOR,
        _ => 0,
    }
}

fn is(byte: u8, class: u8) -> bool {
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|classes| classes & class != 0)
}

/// Whether a character is white space to PostgreSQL.
pub(crate) fn is_white(character: char) -> bool {
    u8::try_from(character).is_ok_and(|byte| is(byte, SPACE))
}

impl Tokens<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn run(&self, from: usize, belongs: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        from + rest
            .iter()
            .position(|&byte| !belongs(byte))
            .unwrap_or(rest.len())
    }

    /// The end of a comment that starts at `from` with `/*`, and how deep comments nest in it.
    fn block_comment(&self, from: usize) -> (usize, usize) {
        let (mut at, mut depth, mut deepest) = (from, 0usize, 0usize);
        loop {
            match (self.byte(at), self.byte(at + 1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    deepest = deepest.max(depth);
                    at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return (at, deepest);
                    }
                }
                (Some(_), _) => at += 1,
                (None, _) => return (self.text.len(), deepest),
            }
        }
    }

    /// The end of what is quoted by `quote` and opens at `from`.
    fn quoted(&self, from: usize, quote: u8, backslash: bool) -> usize {
        let mut at = from + 1;
        loop {
            match self.byte(at) {
                None => return self.text.len(),
                Some(b'\\') if backslash => at += 2,
                Some(byte) if byte == quote => {
                    if self.byte(at + 1) == Some(quote) {
                        at += 2;
                    } else {
                        return at + 1;
                    }
                }
                Some(_) => at += 1,
            }
        }
    }

    /// The end of a dollar-quoted string that opens at `from`, if one does.
    fn dollar(&self, from: usize) -> Option<usize> {
        let tag_end = match self.byte(from + 1)? {
            b'$' => from + 1,
            byte if is(byte, STARTS_WORD) => {
                self.run(from + 1, |b| b != b'$' && is(b, CONTINUES_WORD))
            }
            _ => return None,
        };
        if self.byte(tag_end)? != b'$' {
            return None;
        }
        let tag = self.text.get(from..=tag_end)?;
        let body = self.text.get(tag_end + 1..)?;
        Some(
            body.windows(tag.len())
                .position(|window| window == tag)
                .map_or(self.text.len(), |found| tag_end + 1 + found + tag.len()),
        )
    }

    fn operator(&self, from: usize) -> usize {
        let end = self.run(from, |byte| is(byte, OPERATOR));
        let run = self.text.get(from..end).unwrap_or_default();
        let comment = run
            .windows(2)
            .position(|pair| pair == b"--" || pair == b"/*");
        from + comment.filter(|&at| at > 0).unwrap_or(run.len())
    }

    fn number(&self, from: usize) -> usize {
        self.run(from, |byte| is(byte, NUMBER))
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    // There are two loops over every text, and entering this costs as much as a short token.
    #[inline(always)]
    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let first = self.byte(start)?;
        let second = self.byte(start + 1);
        let mut nesting = 0;
        let (kind, end) = match first {
            byte if is(byte, SPACE) => (Kind::Space, self.run(start, |byte| is(byte, SPACE))),
            b'-' if second == Some(b'-') => (
                Kind::Comment,
                self.run(start, |byte| byte != b'\n' && byte != b'\r'),
            ),
            b'/' if second == Some(b'*') => {
                let (end, deepest) = self.block_comment(start);
                nesting = deepest;
                (Kind::Comment, end)
            }
            b'\'' => (Kind::Text, self.quoted(start, b'\'', false)),
            b'"' => (Kind::Quoted, self.quoted(start, b'"', false)),
            b'e' | b'E' if second == Some(b'\'') => {
                (Kind::Text, self.quoted(start + 1, b'\'', true))
            }
            byte if is(byte, STARTS_WORD) => {
                (Kind::Word, self.run(start, |byte| is(byte, CONTINUES_WORD)))
            }
            byte if is(byte, DIGIT) => (Kind::Number, self.number(start)),
            b'.' if second.is_some_and(|byte| byte.is_ascii_digit()) => {
                (Kind::Number, self.number(start))
            }
            b'$' => match self.dollar(start) {
                Some(end) => (Kind::Text, end),
                None => (
                    Kind::Other,
                    self.run(start + 1, |byte| byte.is_ascii_digit()),
                ),
            },
            b':' if second == Some(b':') => (Kind::Operator, start + 2),
            byte if is(byte, OPERATOR) => (Kind::Operator, self.operator(start)),
            _ => (Kind::Other, start + 1),
        };
        self.at = end.min(self.text.len());
        Some(Token {
            kind,
            start,
            end: self.at,
            nesting,
        })
    }
}

/// What [`check`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen<'a> {
    /// The first word, if the text starts with one (or with parentheses and then one).
    pub(crate) first_word: Option<&'a str>,
    /// Whether anything but white space and comments stands behind a semicolon, or one stands first.
    pub(crate) several: bool,
    /// Where the first statement ends: at its semicolon, if it has one.
    pub(crate) semicolon: Option<usize>,
}

/// One open bracket or CASE, with the operators chained at its level since the last comma.
struct Level {
    case: bool,
    chain: usize,
}

/// Checks the bounds that protect the parsers themselves.
///
/// # Errors
/// `TooLarge` for the length, `TooComplex` for nesting, tokens and operator chains, `SyntaxError` for a null byte.
pub(crate) fn check<'a>(text: &'a str, limits: &Limits) -> Result<Seen<'a>, Refusal> {
    if text.len() > limits.sql_bytes_max {
        return Err(Refusal::new(
            Reason::TooLarge,
            format!(
                "the statement has {} bytes, at most {} are allowed",
                text.len(),
                limits.sql_bytes_max
            ),
        )
        .hint("Send a shorter statement; pass long values as parameters."));
    }
    if let Some(at) = memchr::memchr(0, text.as_bytes()) {
        let before = text.get(..at).unwrap_or_default().chars().count();
        return Err(
            Refusal::new(Reason::SyntaxError, "the text contains a null byte")
                .at(u32::try_from(before + 1).ok())
                .hint("Send plain text."),
        );
    }
    let mut seen = Seen {
        first_word: None,
        several: false,
        semicolon: None,
    };
    let (mut started, bytes) = (false, text.as_bytes());
    let mut count = Count::default();
    for token in tokens(text) {
        let piece = bytes.get(token.start..token.end).unwrap_or_default();
        if token.nesting > limits.sql_depth_max {
            return Err(too_complex("comments nest", limits.sql_depth_max));
        }
        if matches!(token.kind, Kind::Space | Kind::Comment) {
            continue;
        }
        if piece == b";" && count.levels.is_empty() {
            seen.semicolon = seen.semicolon.or(Some(token.start));
            count = Count::default();
            continue;
        }
        seen.several |= seen.semicolon.is_some();
        if !started && piece != b"(" {
            started = true;
            let word = || text.get(token.start..token.end);
            seen.first_word = (token.kind == Kind::Word).then(word).flatten();
        }
        count.token(token.kind, piece);
        count.within(limits)?;
    }
    Ok(seen)
}

fn too_complex(what: &str, most: usize) -> Refusal {
    Refusal::new(Reason::TooComplex, format!("{what} more than {most} deep"))
        .hint("Send a simpler statement, or split it into several.")
}

/// The counters of one statement.
#[derive(Default)]
struct Count {
    tokens: usize,
    levels: Vec<Level>,
    /// The operators chained at the outermost level.
    chain: usize,
    /// The sum of all chains that are open now: about the depth of the tree.
    open_chains: usize,
}

impl Count {
    fn chain_mut(&mut self) -> &mut usize {
        match self.levels.last_mut() {
            Some(level) => &mut level.chain,
            None => &mut self.chain,
        }
    }

    fn chain(&mut self) {
        *self.chain_mut() += 1;
        self.open_chains += 1;
    }

    fn pop(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.open_chains = self.open_chains.saturating_sub(level.chain);
        }
    }

    fn token(&mut self, kind: Kind, piece: &[u8]) {
        self.tokens += 1;
        match (kind, piece) {
            (Kind::Other, b"(" | b"[") => self.levels.push(Level {
                case: false,
                chain: 0,
            }),
            (Kind::Other, b")" | b"]") => {
                // A column may be called `case`: what was not closed by END is closed here.
                while self.levels.last().is_some_and(|level| level.case) {
                    self.pop();
                }
                self.pop();
            }
            (Kind::Other, b",") => {
                let chain = std::mem::take(self.chain_mut());
                self.open_chains = self.open_chains.saturating_sub(chain);
            }
            (Kind::Word, word) if word.eq_ignore_ascii_case(b"case") => {
                self.levels.push(Level {
                    case: true,
                    chain: 0,
                });
            }
            (Kind::Word, word)
                if word.eq_ignore_ascii_case(b"end")
                    && self.levels.last().is_some_and(|level| level.case) =>
            {
                self.pop();
            }
            (Kind::Operator, _) => self.chain(),
            (Kind::Word, word) if chains(word) => self.chain(),
            (
                Kind::Space
                | Kind::Comment
                | Kind::Text
                | Kind::Quoted
                | Kind::Number
                | Kind::Word
                | Kind::Other,
                _,
            ) => {}
        }
    }

    fn within(&self, limits: &Limits) -> Result<(), Refusal> {
        if self.levels.len() > limits.sql_depth_max {
            return Err(too_complex(
                "parentheses and CASE nest",
                limits.sql_depth_max,
            ));
        }
        if self.open_chains > limits.sql_operators_max {
            return Err(Refusal::new(
                Reason::TooComplex,
                format!(
                    "more than {} operators are chained",
                    limits.sql_operators_max
                ),
            )
            .hint(
                "Use IN (...), = ANY (...) or a VALUES list instead of a long chain of operators.",
            ));
        }
        if self.tokens > limits.sql_tokens_max {
            return Err(Refusal::new(
                Reason::TooComplex,
                format!(
                    "the statement has more than {} tokens",
                    limits.sql_tokens_max
                ),
            )
            .hint("Send a shorter statement; pass long lists as an array parameter."));
        }
        Ok(())
    }
}

/// The words that make a tree one deeper each time.
fn chains(word: &[u8]) -> bool {
    // Looked for among those of its length: this is asked of every word.
    let words: &[&str] = match word.len() {
        2 => &["or", "is", "in", "at"],
        3 => &["and", "not"],
        4 => &["like", "join"],
        5 => &["ilike", "union"],
        6 => &["isnull", "except", "escape"],
        7 => &["notnull", "similar", "between", "collate"],
        8 => &["overlaps", "operator"],
        9 => &["intersect"],
        _ => &[],
    };
    let same = |known: &&str| word.eq_ignore_ascii_case(known.as_bytes());
    words.iter().any(same)
}

#[cfg(test)]
mod tests;
