//! Windows, clock changes, claims, attributes and addresses, each with a true and a false case.

use super::times::{holds as allowed, next_change};
use super::*;
use crate::config::parse_conditions;
use crate::identity::Principal;
use crate::provider::{FileProvider, Hierarchy, LiveHierarchy, Resolver};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

fn rules(text: &str) -> Vec<Condition> {
    parse_conditions(text).unwrap()
}

fn rule(asks: &str) -> Condition {
    rules(&format!("[[conditions]]\nroles = [\"R\"]\n{asks}"))
        .pop()
        .unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// In Berlin clocks go from 02:00 to 03:00 on Sunday, 29 March 2026, and from 03:00 to 02:00 on Sunday, 25 October.
#[test]
fn windows_are_read_from_the_clock_on_the_wall() {
    // (window, moment, whether)
    for (window, moment, expected) in [
        ("Mon-Fri 09:00-17:30", "2026-11-23T09:00:00+01:00", true),
        (
            "Mon-Fri 09:00-17:30",
            "2026-11-23T08:59:59.999+01:00",
            false,
        ),
        ("Mon-Fri 09:00-17:30", "2026-11-23T17:29:59+01:00", true),
        ("Mon-Fri 09:00-17:30", "2026-11-23T17:30:00+01:00", false),
        ("Mon-Fri 09:00-17:30", "2026-11-22T12:00:00+01:00", false),
        ("Mon-Fri 09:00-17:30", "2026-07-06T07:00:00Z", true),
        ("Mon-Fri 09:00-17:30", "2026-12-07T08:00:00Z", true),
        ("Mon-Fri 09:00-17:30", "2026-12-07T07:00:00Z", false),
        // Midnight belongs to the day that begins.
        ("Sun", "2026-11-22T00:00:00+01:00", true),
        ("Sun", "2026-11-21T23:59:59+01:00", false),
        ("Sun", "2026-11-22T23:59:59+01:00", true),
        ("Sun", "2026-11-23T00:00:00+01:00", false),
        ("Sun", "2026-11-22T23:30:00Z", false),
        // Over midnight the weekday is that of the evening.
        ("Fri 22:00-06:00", "2026-11-20T23:00:00+01:00", true),
        ("Fri 22:00-06:00", "2026-11-21T05:59:00+01:00", true),
        ("Fri 22:00-06:00", "2026-11-21T06:00:00+01:00", false),
        ("Fri 22:00-06:00", "2026-11-20T05:00:00+01:00", false),
        ("Fri 22:00-06:00", "2026-11-21T22:30:00+01:00", false),
        ("Sun 22:00-06:00", "2026-11-23T05:00:00+01:00", true),
        ("22:00-00:00", "2026-11-20T23:59:00+01:00", true),
        ("22:00-00:00", "2026-11-21T00:00:00+01:00", false),
        ("22:00-24:00", "2026-11-20T23:59:00+01:00", true),
        ("22:00-24:00", "2026-11-21T00:00:00+01:00", false),
        ("Sat-Mon", "2026-11-23T12:00:00+01:00", true),
        ("Sat-Mon", "2026-11-24T12:00:00+01:00", false),
        ("Mon,Wed 10:00-11:00", "2026-11-25T10:30:00+01:00", true),
        ("Mon,Wed 10:00-11:00", "2026-11-24T10:30:00+01:00", false),
        // The hour that is left out, and the hour that comes twice.
        ("02:15-02:45", "2026-03-29T00:59:59Z", false),
        ("02:15-02:45", "2026-03-29T01:00:00Z", false),
        ("01:30-03:30", "2026-03-29T01:29:00Z", true),
        ("01:30-03:30", "2026-03-29T01:30:00Z", false),
        ("02:15-02:45", "2026-10-25T00:30:00Z", true),
        ("02:15-02:45", "2026-10-25T01:30:00Z", true),
        ("02:15-02:45", "2026-10-25T00:50:00Z", false),
        ("02:15-02:45", "2026-10-25T01:50:00Z", false),
        ("Sun", "2026-03-28T23:00:00Z", true),
        ("Sun", "2026-03-29T22:00:00Z", false),
        ("Sun", "2026-10-25T22:59:59Z", true),
    ] {
        let rule = rule(&format!("times = [\"{window}\"]\nzone = \"Europe/Berlin\""));
        assert_eq!(allowed(&rule, at(moment)), expected, "{window} at {moment}");
    }
}

#[test]
fn from_and_until_are_moments() {
    for (asks, moment, expected) in [
        (
            "from = 2026-11-23T09:00:00Z",
            "2026-11-23T08:59:59.999999Z",
            false,
        ),
        ("from = 2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z", true),
        (
            "until = 2026-11-23T09:00:00+01:00",
            "2026-11-23T07:59:59Z",
            true,
        ),
        (
            "until = 2026-11-23T09:00:00+01:00",
            "2026-11-23T08:00:00Z",
            false,
        ),
        // Without an offset: the zone's clock; what it shows twice is taken so that less is granted.
        (
            "until = 2026-10-25T02:30:00\nzone = \"Europe/Berlin\"",
            "2026-10-25T00:29:00Z",
            true,
        ),
        (
            "until = 2026-10-25T02:30:00\nzone = \"Europe/Berlin\"",
            "2026-10-25T00:30:00Z",
            false,
        ),
        (
            "from = 2026-10-25T02:30:00\nzone = \"Europe/Berlin\"",
            "2026-10-25T01:29:00Z",
            false,
        ),
        (
            "from = 2026-10-25T02:30:00\nzone = \"Europe/Berlin\"",
            "2026-10-25T01:30:00Z",
            true,
        ),
    ] {
        assert_eq!(
            allowed(&rule(asks), at(moment)),
            expected,
            "{asks} at {moment}"
        );
    }
}

/// Whatever is kept until the next change is right all that time: every zone around its clock changes, in steps of
/// seven minutes and some seconds, so that all kinds of moments are tried.
#[test]
fn nothing_changes_before_the_next_change() {
    let windows = [
        "\"Mon-Fri 09:00-17:30\", \"Sat 10:00-12:00\"",
        "\"Sun\"",
        "\"22:00-06:00\"",
        "\"Sat 23:30-00:15\"",
        "\"02:15-02:45\"",
        "\"01:59-03:01\"",
        "\"00:00-24:00\"",
        "\"00:30-00:31\"",
    ];
    let places = [
        ("Europe/Berlin", "2026-03-27T00:00:00Z"),
        ("Europe/Berlin", "2026-10-23T00:00:00Z"),
        ("America/New_York", "2026-10-30T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-03T00:00:00Z"),
        ("Asia/Kolkata", "2026-04-03T00:00:00Z"),
        // Midnight is left out here, and here a whole day was.
        ("America/Sao_Paulo", "2018-11-02T00:00:00Z"),
        ("Pacific/Apia", "2011-12-28T00:00:00Z"),
        ("Africa/Cairo", "2026-04-22T00:00:00Z"),
    ];
    for windows in windows {
        for (zone, start) in places {
            let rule = rule(&format!(
                "times = [{windows}]\nzone = \"{zone}\"\nuntil = {}",
                "2026-10-25T01:30:00Z"
            ));
            let (start, mut kept) = (at(start), None::<(bool, Timestamp)>);
            for step in 0..1_000_i64 {
                let now = start + jiff::SignedDuration::from_secs(step * 433);
                let decided = allowed(&rule, now);
                if let Some((before, until)) = kept
                    && now < until
                {
                    assert_eq!(decided, before, "{windows} {zone} at {now}");
                    continue;
                }
                let until = next_change(&rule, now);
                assert!(until > now, "{windows} {zone} at {now}");
                let near = until - jiff::SignedDuration::from_nanos(1);
                assert_eq!(
                    allowed(&rule, near),
                    decided,
                    "{windows} {zone} before {until}"
                );
                kept = Some((decided, until));
            }
        }
    }
    let never = rule("from = 2026-01-01T00:00:00Z");
    assert_eq!(
        next_change(&never, at("2026-02-01T00:00:00Z")),
        Timestamp::MAX
    );
}

fn answers() -> Vec<(&'static str, Answer)> {
    let of = |pairs: &[(&str, &[&str])]| Answer {
        attributes: pairs
            .iter()
            .map(|(name, values)| {
                let values = values.iter().map(|value| (*value).to_owned()).collect();
                ((*name).to_owned(), values)
            })
            .collect(),
        ..Answer::default()
    };
    vec![
        (
            "hr",
            of(&[
                ("region", &["EU", "UK"]),
                ("level", &["3"]),
                ("cleared", &["true"]),
            ]),
        ),
        // What a user may write of themselves.
        ("crm", of(&[("region", &["US"]), ("nick", &["boss"])])),
    ]
}

#[test]
fn claims_attributes_addresses_and_users() {
    let claims: BTreeMap<String, Json> = serde_json::from_str(
        r#"{"amr": ["pwd", "mfa"], "org": "acme", "level": 3, "staff": true, "deep": {"org": "acme"}, "none": null,
            "nested": [["x"]]}"#,
    )
    .unwrap();
    let from = |address: &str| Some(address.parse::<IpAddr>().unwrap());
    let here = from("10.1.2.3");
    for (asks, address, expected) in [
        ("claim = {name = \"amr\", is = \"mfa\"}", None, true),
        ("claim = {name = \"amr\", is = \"otp\"}", None, false),
        (
            "claim = {name = \"org\", in = [\"acme\", \"umbrella\"]}",
            None,
            true,
        ),
        ("claim = {name = \"org\", in = [\"Acme\"]}", None, false),
        ("claim = {name = \"org\", is = \"acme \"}", None, false),
        ("claim = {name = \"level\", is = 3}", None, true),
        ("claim = {name = \"level\", is = \"3\"}", None, false),
        ("claim = {name = \"staff\", is = true}", None, true),
        ("claim = {name = \"staff\", is = \"true\"}", None, false),
        ("claim = {name = \"deep\", is = \"acme\"}", None, false),
        ("claim = {name = \"nested\", is = \"x\"}", None, false),
        ("claim = {name = \"none\", is = \"\"}", None, false),
        ("claim = {name = \"unknown\", is = \"x\"}", None, false),
        ("attribute = {name = \"region\", is = \"UK\"}", None, true),
        ("attribute = {name = \"region\", is = \"US\"}", None, true),
        (
            "attribute = {name = \"region\", is = \"US\", provider = \"hr\"}",
            None,
            false,
        ),
        (
            "attribute = {name = \"region\", is = \"EU\", provider = \"hr\"}",
            None,
            true,
        ),
        (
            "attribute = {name = \"nick\", is = \"boss\", provider = \"hr\"}",
            None,
            false,
        ),
        ("attribute = {name = \"level\", is = 3}", None, true),
        ("attribute = {name = \"cleared\", is = true}", None, true),
        ("attribute = {name = \"Region\", is = \"EU\"}", None, false),
        ("attribute = {name = \"unknown\", is = \"\"}", None, false),
        ("networks = [\"10.0.0.0/8\"]", here, true),
        ("networks = [\"10.0.0.0/8\"]", from("::ffff:10.1.2.3"), true),
        ("networks = [\"10.0.0.0/8\"]", from("11.0.0.1"), false),
        ("networks = [\"10.0.0.0/8\"]", from("::10.1.2.3"), false),
        ("networks = [\"10.0.0.0/8\"]", None, false),
        ("networks = [\"192.0.2.0/24\", \"10.1.2.3\"]", here, true),
        ("networks = [\"10.1.2.4\"]", here, false),
        ("networks = [\"0.0.0.0/0\"]", here, true),
        ("networks = [\"::/0\"]", here, false),
        ("networks = [\"fd00::/8\"]", from("fd12::1"), true),
        (
            "users = [\"jane\"]\nnetworks = [\"11.0.0.0/8\"]",
            here,
            true,
        ),
        (
            "users = [\"bob\"]\nnetworks = [\"11.0.0.0/8\"]",
            here,
            false,
        ),
        (
            "users = [\"BOB\"]\nnetworks = [\"11.0.0.0/8\"]",
            here,
            false,
        ),
        // Everything asked for has to hold.
        (
            "networks = [\"10.0.0.0/8\"]\nclaim = {name = \"org\", is = \"acme\"}",
            here,
            true,
        ),
        (
            "networks = [\"10.0.0.0/8\"]\nclaim = {name = \"org\", is = \"other\"}",
            here,
            false,
        ),
    ] {
        let caller = Caller::shown("bob", claims.clone(), address);
        let conditions = Conditions::new(vec![rule(asks)], Arc::new(SystemClock));
        let verdict = conditions.judge(&caller, &answers(), conditions.moment());
        assert_eq!(verdict.narrowing.leaves_role("R"), expected, "{asks}");
        assert_eq!(verdict.unmet.is_empty(), expected, "{asks}");
        assert!(verdict.superuser);
    }
}

/// A clock that shows what it is told.
struct Told(std::sync::Mutex<Timestamp>);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct World {
    clock: Arc<Told>,
    resolver: Resolver,
    _folder: tempfile::TempDir,
}

impl World {
    /// A file provider, whose principals are kept as long as nothing changes.
    fn new(people: &str, conditions: &str, permissions: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roles.json");
        std::fs::write(&path, people).unwrap();
        let file = FileProvider::open("hr", &path, Duration::ZERO).unwrap();
        let clock = Arc::new(Told(Timestamp::UNIX_EPOCH.into()));
        let told: Arc<dyn Clock> = clock.clone();
        let brings = permissions
            .iter()
            .map(|(name, brought)| ((*name).to_owned(), BTreeSet::from([(*brought).to_owned()])))
            .collect();
        let hierarchy = Hierarchy::new(BTreeMap::new(), brings).unwrap();
        let hierarchy = LiveHierarchy::open(hierarchy, None).unwrap();
        let resolver = Resolver::new(vec![Arc::new(file)], Duration::from_secs(5))
            .with_hierarchy(Arc::new(hierarchy))
            .with_conditions(Arc::new(Conditions::new(rules(conditions), told)));
        Self {
            clock,
            resolver,
            _folder: folder,
        }
    }

    async fn bob(&self, moment: &str) -> Arc<Principal> {
        *self.clock.0.lock().unwrap() = at(moment);
        let caller = Caller::shown("bob", BTreeMap::new(), None);
        self.resolver.principal(&caller).await.unwrap()
    }
}

const PEOPLE: &str = r#"{"user_roles": {"bob": ["Trader", "Staff"]}, "users": {"bob": ["admin:posts", "pay:*"]},
    "roles": {"Trader": ["trade"], "Staff": ["read:posts"]}, "superusers": ["bob"]}"#;

#[tokio::test]
async fn what_counts_follows_the_clock_statement_by_statement() {
    let world = World::new(
        PEOPLE,
        "[[conditions]]\nroles = [\"Trader\"]\ntimes = [\"Mon-Fri 09:00-17:00\"]\nzone = \"UTC\"\n\
         [[conditions]]\nroles = [\"Trader\"]\nuntil = 2026-11-25T12:00:00Z\n\
         [[conditions]]\nsuperuser = true\ntimes = [\"12:00-13:00\"]\nzone = \"UTC\"",
        &[],
    );
    for (moment, trader, superuser) in [
        ("2026-11-23T08:59:59Z", false, false),
        ("2026-11-23T09:00:00Z", true, false),
        ("2026-11-23T11:59:59Z", true, false),
        ("2026-11-23T12:00:00Z", true, true),
        ("2026-11-23T13:00:00Z", true, false),
        ("2026-11-23T17:00:00Z", false, false),
        ("2026-11-25T11:59:59Z", true, false),
        ("2026-11-25T12:00:00Z", false, true),
        ("2026-11-26T10:00:00Z", false, false),
    ] {
        let bob = world.bob(moment).await;
        let roles: Vec<&str> = bob.roles().collect();
        assert_eq!(roles.contains(&"Trader"), trader, "{moment}");
        assert!(roles.contains(&"Staff"), "{moment}");
        assert_eq!(bob.permissions().contains("trade"), trader, "{moment}");
        assert_eq!(bob.superuser(), superuser, "{moment}");
    }
    let one = world.bob("2026-11-26T10:00:00Z").await;
    let two = world.bob("2026-11-26T10:00:01Z").await;
    assert!(
        Arc::ptr_eq(&one, &two),
        "kept while nothing can have changed"
    );
    assert_eq!(one.unmet_conditions(), &BTreeSet::from([1, 2]));
}

#[tokio::test]
async fn what_had_ended_does_not_come_back_with_the_clock() {
    let world = World::new(
        PEOPLE,
        "[[conditions]]\nroles = [\"Trader\"]\nuntil = 2026-11-25T12:00:00Z\n\
         [[conditions]]\nroles = [\"Staff\"]\nfrom = 2026-11-25T12:00:00Z",
        &[],
    );
    let roles = async |moment: &str| {
        let bob = world.bob(moment).await;
        bob.roles().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(roles("2026-11-25T11:00:00Z").await, "Trader");
    assert_eq!(roles("2026-11-25T13:00:00Z").await, "Staff");
    for moment in [
        "2026-11-25T11:30:00Z",
        "2026-11-25T11:59:59Z",
        "2020-01-01T00:00:00Z",
    ] {
        assert_eq!(
            roles(moment).await,
            "",
            "neither the old grant nor the new one at {moment}"
        );
    }
    assert_eq!(
        roles("2026-11-25T12:30:00Z").await,
        "Staff",
        "it mends itself"
    );
    assert_eq!(roles("2026-11-25T13:30:00Z").await, "Staff");
}

#[tokio::test]
async fn a_permission_is_held_back_however_it_is_held() {
    let closed = "networks = [\"192.0.2.0/24\"]";
    // (held back, what is left)
    for (held_back, expected) in [
        ("trade", "admin:posts pay:* read:posts write:posts"),
        ("read:posts", "admin:posts pay:* trade write:posts"),
        ("write:posts", "admin:posts pay:* read:posts trade"),
        ("admin:posts", "pay:* read:posts trade"),
        ("pay:salaries", "admin:posts read:posts trade write:posts"),
        ("pay:*", "admin:posts read:posts trade write:posts"),
        ("ADMIN:Posts", "pay:* read:posts trade"),
        ("*", ""),
    ] {
        let condition = format!("[[conditions]]\npermissions = [\"{held_back}\"]\n{closed}");
        let world = World::new(PEOPLE, &condition, &[("admin:posts", "write:posts")]);
        let bob = world.bob("2026-11-25T11:00:00Z").await;
        let left: Vec<&str> = bob.permissions().iter().map(String::as_str).collect();
        assert_eq!(left.join(" "), expected, "{held_back}");
        assert!(
            bob.superuser(),
            "a superuser bypasses what says nothing of superusers"
        );
    }
}

#[test]
fn a_broken_condition_is_an_error() {
    for (text, says) in [
        ("roles = [\"R\"]", "conditions[0]: asks nothing"),
        (
            "until = 2026-01-01T00:00:00Z",
            "conditions[0]: concerns nothing",
        ),
        (
            "roles = []\nuntil = 2026-01-01T00:00:00Z",
            "conditions[0].roles: is empty",
        ),
        (
            "roles = [\"R\"]\nusers = []\nuntil = 2026-01-01T00:00:00Z",
            "conditions[0].users: is empty",
        ),
        (
            "roles = [\"R\"]\nnetworks = []\nuntil = 2026-01-01T00:00:00Z",
            "conditions[0].networks: is empty",
        ),
        (
            "roles = [\" R\"]\nuntil = 2026-01-01T00:00:00Z",
            "conditions[0].roles: \" R\" is not a name",
        ),
        (
            "roles = [\"R\"]\nrole = \"R\"",
            "conditions[0].role: is not a key",
        ),
        (
            "roles = [\"R\"]\nuntil = 2026-01-01",
            "conditions[0].until: is not a date with a time",
        ),
        (
            "roles = [\"R\"]\nuntil = 12:00:00",
            "conditions[0].until: is not a date with a time",
        ),
        (
            "roles = [\"R\"]\nuntil = 2026-01-01T00:00:00",
            "conditions[0].until: has no offset",
        ),
        (
            "roles = [\"R\"]\nuntil = \"tomorrow\"",
            "conditions[0].until: has the wrong type",
        ),
        (
            "roles = [\"R\"]\nfrom = 2026-01-02T00:00:00Z\nuntil = 2026-01-01T00:00:00Z",
            "conditions[0].until: is not after from",
        ),
        (
            "roles = [\"R\"]\ntimes = [\"Mon\"]",
            "conditions[0].zone: is missing",
        ),
        (
            "roles = [\"R\"]\ntimes = [\"Mon\"]\nzone = \"Berlin\"",
            "conditions[0].zone: \"Berlin\" is not a time zone",
        ),
        (
            "roles = [\"R\"]\nnetworks = [\"10.0.0.1/8\"]",
            "\"10.0.0.1/8\" is an address inside a network",
        ),
        (
            "roles = [\"R\"]\nnetworks = [\"10.0.0\"]",
            "\"10.0.0\" is not a network",
        ),
        (
            "roles = [\"R\"]\nnetworks = [\"::ffff:10.0.0.0/104\"]",
            "is never met",
        ),
        (
            "roles = [\"R\"]\nclaim = {name = \"a\"}",
            "conditions[0].claim: has to have either",
        ),
        (
            "roles = [\"R\"]\nclaim = {name = \"a\", is = 1, in = [2]}",
            "conditions[0].claim: has to have either",
        ),
        (
            "roles = [\"R\"]\nclaim = {name = \"a\", in = []}",
            "conditions[0].claim: has to be compared",
        ),
        (
            "roles = [\"R\"]\nclaim = {name = \"a\", is = 1.5}",
            "conditions[0].claim: has to be compared",
        ),
        (
            "roles = [\"R\"]\nclaim = {is = 1}",
            "conditions[0].claim.name: is missing",
        ),
        (
            "roles = [\"R\"]\nclaim = \"x\"",
            "conditions[0].claim: has to be a section",
        ),
        (
            "roles = [\"R\"]\nattribute = {name = \"a\", is = 1, provider = \"ldap\"}",
            "conditions[0].attribute.provider: \"ldap\" is no provider's name",
        ),
        (
            "permissions = [\"read*\"]\nuntil = 2026-01-01T00:00:00Z",
            "conditions[0].permissions: \"read*\" is no wildcard",
        ),
    ] {
        let problems = parse_conditions(&format!("[[conditions]]\n{text}")).unwrap_err();
        let told: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.key, problem.message))
            .collect();
        assert!(
            told.iter().any(|told| told.contains(says)),
            "{says} in {told:#?}"
        );
    }
    let times = [
        "",
        "Mon 9:00-17:00",
        "09:00-09:00",
        "24:00-06:00",
        "09:00-25:00",
        "09:00-24:01",
        "Mon Tue",
        "Monday",
        "Mon-",
        "09:60-10:00",
        "Mon 09:00-10:00 x",
        "-09:00-10:00",
        "09:00\u{2013}17:00",
        "+9:00-10:00",
    ];
    for window in times {
        let text =
            format!("[[conditions]]\nroles = [\"R\"]\nzone = \"UTC\"\ntimes = [\"{window}\"]");
        let problems = parse_conditions(&text).unwrap_err();
        assert!(problems[0].message.contains("is not a window"), "{window}");
    }
}
