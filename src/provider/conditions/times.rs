//! The part of a condition that the clock decides, and when it could next decide otherwise.

use crate::config::{Condition, Window};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Whether the clock has a say.
pub(super) fn timed(rule: &Condition) -> bool {
    !rule.times.is_empty() || rule.from.is_some() || rule.until.is_some()
}

/// Whether the clock allows it at a moment.
pub(super) fn holds(rule: &Condition, at: Timestamp) -> bool {
    rule.from.is_none_or(|from| from <= at)
        && rule.until.is_none_or(|until| at < until)
        && (rule.times.is_empty()
            || rule
                .zone
                .as_ref()
                .is_some_and(|zone| rule.times.iter().any(|window| inside(window, zone, at))))
}

fn inside(window: &Window, zone: &TimeZone, at: Timestamp) -> bool {
    let local = zone.to_datetime(at);
    let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
    let (from, to) = (i32::from(window.from), i32::from(window.to));
    let today = local.weekday().to_monday_zero_offset();
    let on = |day: i8| {
        usize::try_from(day.rem_euclid(7))
            .ok()
            .and_then(|day| window.days.get(day))
            .is_some_and(|on| *on)
    };
    if from < to {
        on(today) && from <= minute && minute < to
    } else {
        (on(today) && from <= minute) || (on(today - 1) && minute < to)
    }
}

/// The first moment after `at` at which [`holds`] could change its mind; sooner than needed is harmless.
///
/// Windows are read from a clock on the wall, so what is looked for are the moments at which such a clock shows a
/// window's begin or end, or midnight, or is changed itself.
pub(super) fn next_change(rule: &Condition, at: Timestamp) -> Timestamp {
    let ends = [rule.from, rule.until].into_iter().flatten();
    let windows = match (&rule.zone, rule.times.is_empty()) {
        (Some(zone), false) => wall(&rule.times, zone, at),
        _ => Vec::new(),
    };
    ends.chain(windows)
        .filter(|moment| *moment > at)
        .min()
        .unwrap_or(Timestamp::MAX)
}

fn wall(windows: &[Window], zone: &TimeZone, at: Timestamp) -> Vec<Timestamp> {
    let today = zone.to_datetime(at).date();
    let mut moments: Vec<Timestamp> = zone
        .following(at)
        .next()
        .map(|t| t.timestamp())
        .into_iter()
        .collect();
    for offset in [-1, 0, 1, 2] {
        // Near the end of the calendar: at once, so nothing is kept.
        let Ok(day) = today.checked_add(Span::new().days(offset)) else {
            moments.push(soon(at));
            continue;
        };
        shown(&mut moments, zone, day, 0);
        for window in windows {
            shown(&mut moments, zone, day, window.from);
            shown(&mut moments, zone, day, window.to % 1440);
        }
    }
    moments
}

/// The moments at which a clock in the zone shows a time: two where it is set back over it.
fn shown(moments: &mut Vec<Timestamp>, zone: &TimeZone, day: Date, minute: u16) {
    let (hour, minute) = (minute / 60, minute % 60);
    let (Ok(hour), Ok(minute)) = (i8::try_from(hour), i8::try_from(minute)) else {
        return;
    };
    let at = zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0));
    moments.extend(at.earlier().ok());
    moments.extend(at.later().ok());
}

fn soon(at: Timestamp) -> Timestamp {
    at.checked_add(Span::new().nanoseconds(1)).unwrap_or(at)
}
