//! `[[conditions]]`: when, from where and for whom roles and permissions count. Everything wrong is found here.

use super::check::{Check, join};
use super::raw;
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::net::IpAddr;
use toml::Table;

/// Most conditions.
const CONDITIONS_MAX: usize = 1_000;
/// Most names, times, networks or values of one condition.
const ITEMS_MAX: usize = 1_000;

/// What has to hold for some roles and permissions to count.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// Roles that count only while it holds.
    pub roles: Vec<String>,
    /// Permissions that count only while it holds.
    pub permissions: Vec<String>,
    /// The superuser flag counts only while it holds.
    pub superuser: bool,
    /// Concerns these users only; empty = everybody.
    pub users: Vec<String>,
    /// In one of these windows; empty = always.
    pub times: Vec<Window>,
    /// Where the clock hangs that `times` are read from.
    pub zone: Option<TimeZone>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not at or after.
    pub until: Option<Timestamp>,
    /// The client's address is in one of these; empty = anywhere.
    pub networks: Vec<IpNet>,
    /// A claim of the token.
    pub claim: Option<Match>,
    /// An attribute.
    pub attribute: Option<Match>,
}

/// A part of some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Monday to Sunday; of a window over midnight, the day it begins.
    pub days: [bool; 7],
    /// The minute of the day it begins.
    pub from: u16,
    /// The minute of the day it has ended; at or before `from`: on the next day.
    pub to: u16,
}

/// One value, or one of several, under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The name.
    pub name: String,
    /// Of an attribute: only this provider's word counts.
    pub provider: Option<String>,
    /// Any of these; a list matches by any of its items.
    pub any_of: Vec<Json>,
}

pub(super) fn conditions(
    check: &mut Check,
    top: &mut Table,
    providers: &BTreeSet<&str>,
) -> Vec<Condition> {
    let tables = check.tables(top, "", "conditions");
    if tables.len() > CONDITIONS_MAX {
        let says = format!("{} are more than {CONDITIONS_MAX}", tables.len());
        check.problem("conditions", says, "Attach one condition to several roles.");
        return Vec::new();
    }
    let numbered = tables.into_iter().enumerate();
    numbered
        .map(|(index, table)| condition(check, &format!("conditions[{index}]"), table, providers))
        .collect()
}

/// Reads `[[conditions]]` alone, as beside providers named `hr` and `crm`.
#[cfg(test)]
pub(crate) fn parse(text: &str) -> Result<Vec<Condition>, Vec<super::Problem>> {
    let mut check = Check::new(std::path::Path::new("rowgate.toml"));
    let mut top: Table = text.parse().unwrap_or_default();
    let providers = BTreeSet::from(["hr", "crm"]);
    let conditions = conditions(&mut check, &mut top, &providers);
    match check.problems.is_empty() {
        true => Ok(conditions),
        false => Err(check.problems),
    }
}

fn condition(
    check: &mut Check,
    path: &str,
    mut table: Table,
    providers: &BTreeSet<&str>,
) -> Condition {
    let claim = one_match(check, path, "claim", &mut table, &BTreeSet::new());
    let attribute = one_match(check, path, "attribute", &mut table, providers);
    // The keys as written: one with a mistake in it is a mistake, never "does not matter".
    let written: BTreeSet<String> = table.keys().cloned().collect();
    let raw: raw::Condition = check.section(path, table);
    let zone = zone(check, path, raw.zone.as_deref());
    let condition = Condition {
        roles: names(check, path, "roles", raw.roles),
        permissions: names(check, path, "permissions", raw.permissions),
        superuser: raw.superuser,
        users: names(check, path, "users", raw.users),
        times: times(check, path, &raw.times),
        from: moment(check, path, "from", raw.from, zone.as_ref()),
        until: moment(check, path, "until", raw.until, zone.as_ref()),
        networks: networks(check, path, &raw.networks),
        zone,
        claim,
        attribute,
    };
    coherent(check, path, &condition, &written);
    condition
}

/// A condition on nothing, or that asks nothing, is not what anybody meant.
fn coherent(check: &mut Check, path: &str, condition: &Condition, written: &BTreeSet<String>) {
    for key in ["roles", "permissions", "users", "times", "networks"] {
        let empty = match key {
            "roles" => condition.roles.is_empty(),
            "permissions" => condition.permissions.is_empty(),
            "users" => condition.users.is_empty(),
            "times" => condition.times.is_empty(),
            _ => condition.networks.is_empty(),
        };
        if empty && written.contains(key) {
            check.problem(
                join(path, key),
                "is empty",
                "Leave the key out, or fill it.",
            );
        }
    }
    if condition.roles.is_empty() && condition.permissions.is_empty() && !condition.superuser {
        check.problem(
            path,
            "concerns nothing",
            "Name roles, permissions, or superuser = true.",
        );
    }
    let asks = !condition.times.is_empty()
        || condition.from.is_some()
        || condition.until.is_some()
        || !condition.networks.is_empty()
        || condition.claim.is_some()
        || condition.attribute.is_some();
    if !asks {
        check.problem(
            path,
            "asks nothing",
            "Give it times, from, until, networks, claim or attribute.",
        );
    }
    if !condition.times.is_empty() && condition.zone.is_none() {
        check.problem(
            join(path, "zone"),
            "is missing",
            "Times are read from a clock somewhere: zone = \"Europe/Berlin\".",
        );
    }
    if let (Some(from), Some(until)) = (condition.from, condition.until)
        && from >= until
    {
        check.problem(join(path, "until"), "is not after from", "");
    }
    for permission in &condition.permissions {
        let scope = permission.strip_suffix('*').unwrap_or(permission);
        let wildcard = scope.is_empty() || scope.ends_with(':') || scope == permission;
        if scope.contains('*') || !wildcard {
            let says = format!("\"{permission}\" is no wildcard");
            let hint = "A * stands alone or after the last colon, as in \"read:*\".";
            check.problem(join(path, "permissions"), says, hint);
        }
    }
}

fn names(check: &mut Check, path: &str, key: &str, names: Vec<String>) -> Vec<String> {
    if names.len() > ITEMS_MAX {
        check.problem(join(path, key), "holds more than 1000 names", "");
    }
    for name in &names {
        if name.trim() != name || name.is_empty() || name.chars().any(char::is_control) {
            let says = format!("\"{}\" is not a name", name.escape_debug());
            check.problem(join(path, key), says, "");
        }
    }
    names
}

fn zone(check: &mut Check, path: &str, name: Option<&str>) -> Option<TimeZone> {
    let name = name?;
    match TimeZone::get(name) {
        Ok(zone) => Some(zone),
        Err(_) => {
            let says = format!("\"{name}\" is not a time zone");
            let hint = "Write its IANA name, such as \"Europe/Berlin\" or \"UTC\".";
            check.problem(join(path, "zone"), says, hint);
            None
        }
    }
}

fn moment(
    check: &mut Check,
    path: &str,
    key: &str,
    written: Option<toml::value::Datetime>,
    zone: Option<&TimeZone>,
) -> Option<Timestamp> {
    let written = written?;
    let hint = "Write 2026-12-31T18:00:00+01:00; without an offset it is a clock time in `zone`.";
    let (Some(_), Some(_)) = (written.date, written.time) else {
        check.problem(join(path, key), "is not a date with a time", hint);
        return None;
    };
    let text = written.to_string();
    let found = match (written.offset, zone) {
        (Some(_), _) => text.parse::<Timestamp>().ok(),
        (None, None) => {
            check.problem(join(path, key), "has no offset, and there is no zone", hint);
            return None;
        }
        (None, Some(zone)) => text.parse::<DateTime>().ok().and_then(|civil| {
            // What the clock shows twice, or never, is taken so that less is granted.
            let found = zone.to_ambiguous_timestamp(civil);
            match key {
                "from" => found.later(),
                _ => found.earlier(),
            }
            .ok()
        }),
    };
    if found.is_none() {
        check.problem(join(path, key), "is not a moment", hint);
    }
    found
}

fn networks(check: &mut Check, path: &str, written: &[String]) -> Vec<IpNet> {
    let key = join(path, "networks");
    if written.len() > ITEMS_MAX {
        check.problem(&*key, "holds more than 1000 networks", "");
    }
    let mut networks = Vec::new();
    for text in written {
        let alone = || text.parse::<IpAddr>().map(IpNet::from);
        let Ok(network) = text.parse::<IpNet>().or_else(|_| alone()) else {
            let says = format!("\"{text}\" is not a network");
            check.problem(
                &*key,
                says,
                "Write \"10.0.0.0/8\", \"fd00::/8\" or one address.",
            );
            continue;
        };
        if network.trunc() != network {
            let says = format!("\"{text}\" is an address inside a network");
            let hint = format!("Did you mean \"{}\"?", network.trunc());
            check.problem(&*key, says, &hint);
        }
        if matches!(network, IpNet::V6(six) if six.addr().to_ipv4_mapped().is_some()) {
            let hint = "Addresses of this kind are seen as IPv4: write the IPv4 network.";
            check.problem(&*key, format!("\"{text}\" is never met"), hint);
        }
        networks.push(network);
    }
    networks
}

fn one_match(
    check: &mut Check,
    path: &str,
    key: &str,
    table: &mut Table,
    providers: &BTreeSet<&str>,
) -> Option<Match> {
    let table = check.table(table, path, key)?;
    let path = join(path, key);
    let raw: raw::Match = check.section(&path, table);
    let hint =
        "Write { name = \"region\", is = \"EU\" } or { name = \"region\", in = [\"EU\", \"UK\"] }.";
    let name = check.required(join(&path, "name"), raw.name, hint)?;
    let written: Vec<toml::Value> = match (raw.is, raw.r#in) {
        (Some(one), None) => vec![one],
        (None, Some(several)) => several,
        _ => {
            check.problem(&*path, "has to have either `is` or `in`", hint);
            return None;
        }
    };
    let any_of: Vec<Json> = written.iter().filter_map(scalar).collect();
    if any_of.is_empty() || any_of.len() != written.len() || any_of.len() > ITEMS_MAX {
        let says = "has to be compared with texts, whole numbers or booleans, 1000 at most";
        check.problem(&*path, says, hint);
    }
    if let Some(provider) = &raw.provider
        && !providers.contains(provider.as_str())
    {
        let says = format!("\"{provider}\" is no provider's name");
        let known: Vec<&str> = providers.iter().copied().collect();
        let hint = match known.is_empty() {
            true => "Claims come from the token alone.".to_owned(),
            false => format!("Known here: {}.", known.join(", ")),
        };
        check.problem(join(&path, "provider"), says, &hint);
    }
    Some(Match {
        name,
        provider: raw.provider,
        any_of,
    })
}

fn scalar(value: &toml::Value) -> Option<Json> {
    match value {
        toml::Value::String(text) => Some(text.as_str().into()),
        toml::Value::Integer(number) => Some((*number).into()),
        toml::Value::Boolean(yes) => Some((*yes).into()),
        toml::Value::Float(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => None,
    }
}

fn times(check: &mut Check, path: &str, written: &[String]) -> Vec<Window> {
    let key = join(path, "times");
    if written.len() > ITEMS_MAX {
        check.problem(&*key, "holds more than 1000 windows", "");
    }
    let mut windows = Vec::new();
    for text in written {
        match window(text) {
            Some(window) => windows.push(window),
            None => check.problem(
                &*key,
                format!("\"{text}\" is not a window"),
                "Write \"Mon-Fri 09:00-17:30\", \"Sat,Sun\", \"22:00-06:00\" (over midnight) or \"18:00-24:00\".",
            ),
        }
    }
    windows
}

/// `[days] [hh:mm-hh:mm]`, at least one of them.
fn window(text: &str) -> Option<Window> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let (days, hours) = match *parts.as_slice() {
        [only] if only.contains(':') => (None, Some(only)),
        [only] => (Some(only), None),
        [days, hours] => (Some(days), Some(hours)),
        _ => return None,
    };
    let days = days.map_or(Some([true; 7]), week)?;
    let (from, to) = match hours {
        None => (0, 1440),
        Some(hours) => {
            let (from, to) = hours.split_once('-')?;
            (minute(from)?, minute(to)?)
        }
    };
    (from != to && from < 1440).then_some(Window { days, from, to })
}

fn week(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // Over the week's end where the last comes before the first.
        let count = (last + 7 - first) % 7;
        for index in (first..).take(count + 1) {
            *days.get_mut(index % 7)? = true;
        }
    }
    Some(days)
}

fn day(text: &str) -> Option<usize> {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let text = text.to_ascii_lowercase();
    days.iter().position(|day| *day == text)
}

/// Minutes since midnight; `24:00` is the day's end.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    (minute < 60 && hour * 60 + minute <= 1440).then_some(hour * 60 + minute)
}
