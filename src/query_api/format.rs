//! Which form of the answer a request accepts (RFC 9110, section 12.5.1).

use crate::http::Problem;
use axum::http::{HeaderMap, StatusCode, header};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One document, cut off at a bound.
    Json,
    /// A line a row, as they come.
    Ndjson,
    /// A record a row, as they come (RFC 4180).
    Csv,
}

impl Format {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// The form liked best; JSON where all are alike.
    ///
    /// # Errors
    /// 406 when none is accepted.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let offered = [
            (Format::Json, "application/json"),
            (Format::Ndjson, "application/x-ndjson"),
            (Format::Ndjson, "application/ndjson"),
            (Format::Csv, "text/csv"),
        ];
        best(headers, &offered).ok_or_else(|| {
            Problem::new(StatusCode::NOT_ACCEPTABLE)
                .detail("none of the accepted media types can be given")
                .hint("Accept application/json, application/x-ndjson or text/csv.")
        })
    }
}

/// Of what is `offered`, in order, what the Accept headers like best.
pub(super) fn best<T: Copy>(headers: &HeaderMap, offered: &[(T, &str)]) -> Option<T> {
    let mut lines = headers.get_all(header::ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return offered.first().map(|(format, _)| *format);
    }
    let ranges: Vec<(&str, u16)> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(range)
        .collect();
    let mut found: Option<(T, u16)> = None;
    for (format, media) in offered {
        let quality = quality(&ranges, media);
        if quality > found.map_or(0, |(_, best)| best) {
            found = Some((*format, quality));
        }
    }
    found.map(|(format, _)| format)
}

/// A media range, and how much it is liked in thousandths.
fn range(text: &str) -> (&str, u16) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let quality = parts
        .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
        .map_or(1000, thousandths);
    (media, quality)
}

/// `0`, `1` or `0.` and up to three digits; anything else is not liked.
fn thousandths(text: &str) -> u16 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, digits) {
        ("1", true) => 1000,
        ("0", true) => format!("{part:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// The most specific range decides.
fn quality(ranges: &[(&str, u16)], media: &str) -> u16 {
    let of = |wanted: &str| {
        let mut found = ranges
            .iter()
            .filter(|(range, _)| range.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, quality)| *quality)
    };
    let group = media.split('/').next().unwrap_or_default();
    of(media)
        .or_else(|| of(&format!("{group}/*")))
        .or_else(|| of("*/*"))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Format;
    use axum::http::{HeaderMap, HeaderValue, header};

    fn accepted(lines: &[&str]) -> Option<Format> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT, HeaderValue::from_str(line).unwrap());
        }
        Format::accepted(&headers).ok()
    }

    #[test]
    fn the_form_liked_best_is_given() {
        for (lines, expected) in [
            (&[][..], Some(Format::Json)),
            (&["*/*"], Some(Format::Json)),
            (&["text/csv"], Some(Format::Csv)),
            (&["TEXT/CSV"], Some(Format::Csv)),
            (&["text/*"], Some(Format::Csv)),
            (&["text/html, */*;q=0.8"], Some(Format::Json)),
            (&["application/json;q=0.5, text/csv"], Some(Format::Csv)),
            (
                &["application/json;q=0.5", "application/x-ndjson; q=0.51"],
                Some(Format::Ndjson),
            ),
            (&["application/json;q=0, */*"], Some(Format::Ndjson)),
            (&["text/html"], None),
            (&["text/csv;q=0"], None),
            (&["text/csv;q=x"], None),
            (&[""], None),
        ] {
            assert_eq!(accepted(lines), expected, "{lines:?}");
        }
    }
}
