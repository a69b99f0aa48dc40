//! `rowgate serve` beside an upstream login that could do harm: it does not serve, and says what mends it.

use crate::program::{BOBS, Site, sees};
use crate::support;

/// What makes the login dangerous, and the word that says so.
const DANGERS: &[(&str, &str)] = &[
    ("ALTER ROLE rowgate SUPERUSER", "superuser"),
    ("ALTER ROLE rowgate BYPASSRLS", "BYPASSRLS"),
    ("ALTER TABLE public.api_keys OWNER TO rowgate", "owns"),
    (
        "GRANT SELECT ON public.invoices TO rowgate",
        "may read public.invoices",
    ),
    (
        "GRANT UPDATE ON public.invoices TO PUBLIC",
        "may write public.invoices",
    ),
    ("ALTER ROLE rowgate_super SUPERUSER", "superuser"),
    (
        "GRANT DELETE ON rowgate_all.invoices TO rowgate_super",
        "may write rowgate_all.invoices",
    ),
];

#[test]
fn a_dangerous_login_is_not_served_and_its_own_words_mend_it() {
    let cluster = support::start();
    let site = Site::on(&cluster, "posture");
    sees(&mut site.serve().connect(&site, "bob"), BOBS);
    for (danger, word) in DANGERS {
        site.sql(danger);
        let (code, log) = site.refusal();
        assert_eq!(code, 3, "{danger}: {log}");
        assert!(
            log.contains("could do harm, so nothing is served"),
            "{danger}: {log}"
        );
        assert!(log.contains(word), "{danger}: {log}");
        let fixes: Vec<&str> = log
            .lines()
            .filter_map(|line| line.trim().strip_prefix("fix: "))
            .collect();
        assert!(!fixes.is_empty(), "{danger}: {log}");
        for fix in fixes {
            site.sql(fix);
        }
        drop(site.serve());
    }
}
