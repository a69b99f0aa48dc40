//! The four levels as tables.

use super::*;
use rowgate::config::preset;
use rowgate::identity::Caller;
use rowgate::provider::Resolver;

/// Fills the tables from the files, given as JSON.
const FILL: &str = "INSERT INTO public.ai_permissions SELECT api, title, description
            FROM jsonb_to_recordset($1) AS p(api text, title text, description text);
        INSERT INTO public.ai_actions SELECT name, description FROM jsonb_to_recordset($2) AS a(name text, description text);
        INSERT INTO public.ai_action_permissions SELECT name, p
            FROM jsonb_to_recordset($2) AS a(name text, permissions jsonb), jsonb_array_elements_text(permissions) p;
        INSERT INTO public.ai_categories SELECT name, description FROM jsonb_to_recordset($3) AS c(name text, description text);
        INSERT INTO public.ai_category_actions SELECT name, a
            FROM jsonb_to_recordset($3) AS c(name text, actions jsonb), jsonb_array_elements_text(actions) a;
        INSERT INTO public.ai_roles SELECT name, description FROM jsonb_to_recordset($4) AS r(name text, description text);
        INSERT INTO public.ai_role_categories SELECT name, c
            FROM jsonb_to_recordset($4) AS r(name text, categories jsonb), jsonb_array_elements_text(categories) c;
        INSERT INTO public.ai_user_roles SELECT key, r FROM jsonb_each($5->'user_roles'), jsonb_array_elements_text(value) r
            WHERE r IN (SELECT name FROM public.ai_roles);
        INSERT INTO public.ai_user_categories SELECT key, r FROM jsonb_each($5->'user_roles'), jsonb_array_elements_text(value) r
            WHERE r IN (SELECT name FROM public.ai_categories);
        INSERT INTO public.ai_user_permissions SELECT key, p FROM jsonb_each($5->'users'), jsonb_array_elements_text(value) p;
        INSERT INTO public.ai_superusers SELECT jsonb_array_elements_text($5->'superusers')";

fn filled(example: &Example) -> String {
    let mut fill = FILL.to_owned();
    let files = ["permissions", "actions", "category", "roles", "people"];
    for (number, name) in files.iter().enumerate() {
        let json = example.read(&format!("{name}.json"));
        fill = fill.replace(
            &format!("${}", number + 1),
            &format!("$json${json}$json$::jsonb"),
        );
    }
    fill
}

/// The tables say the same as the files: filled from them, read by the preset.
#[tokio::test(flavor = "multi_thread")]
async fn tables_say_the_same_as_the_files() {
    let example = Example::new("ai-permissions", Enforcement::Barrier, |_| {}).await;
    let owner = support::cluster()
        .connect(&example.gate.database)
        .await
        .unwrap();
    owner
        .batch_execute(preset::AI_PERMISSIONS.ddl)
        .await
        .unwrap();
    owner
        .batch_execute(preset::AI_PERMISSIONS.ddl)
        .await
        .unwrap();
    owner.batch_execute(&filled(&example)).await.unwrap();
    let tables = Tables::new(&example, &owner).await;
    let files = rowgate::app::permissions(&example.gate.config)
        .await
        .unwrap()
        .resolver();
    let names = rowgate::app::catalogue(&tables.config).await.unwrap_err();
    assert!(
        format!("{names:#}").contains("its login needs SELECT on ai_permissions"),
        "{names:#}"
    );
    let reader = format!("reader_of_{}", example.gate.database);
    let grant = "GRANT SELECT ON public.ai_permissions, public.ai_actions, public.ai_categories, public.ai_roles TO";
    owner
        .batch_execute(&format!("{grant} {reader}"))
        .await
        .unwrap();
    let names = rowgate::app::catalogue(&tables.config).await.unwrap();
    let of_files = rowgate::app::catalogue(&example.gate.config).await.unwrap();
    assert_eq!(names, of_files);
    assert!(names.unwrap().permissions.contains("fetch_loan"));
    for user in [
        "sam",
        "carla",
        "loan-bot",
        "fraud-bot",
        "dora",
        "root",
        "nobody",
    ] {
        let caller = Caller::assumed(user);
        let one = files.principal(&caller).await.unwrap();
        let two = tables.resolver.principal(&caller).await.unwrap();
        assert_eq!(one.permissions(), two.permissions(), "{user}");
        assert_eq!(
            one.roles().collect::<Vec<_>>(),
            two.roles().collect::<Vec<_>>(),
            "{user}"
        );
        assert_eq!(one.superuser(), two.superuser(), "{user}");
    }
    taken_away_counts_at_once(&owner, &tables.resolver).await;
    the_tables_refuse_what_makes_no_sense(&owner).await;
}

struct Tables {
    resolver: Resolver,
    config: Config,
    _providers: rowgate::app::Providers,
}

impl Tables {
    /// A provider with a login that may read the tables and nothing else.
    async fn new(example: &Example, owner: &Client) -> Self {
        let reader = format!("reader_of_{}", example.gate.database);
        owner
            .batch_execute(&format!("CREATE ROLE {reader} LOGIN PASSWORD 'reads'"))
            .await
            .unwrap();
        for table in [
            "ai_user_roles",
            "ai_user_categories",
            "ai_user_permissions",
            "ai_superusers",
            "ai_role_categories",
            "ai_category_actions",
            "ai_action_permissions",
        ] {
            let grant = format!("GRANT SELECT ON public.{table} TO {reader}");
            owner.batch_execute(&grant).await.unwrap();
        }
        let text = format!(
            "[upstream]\nhost = \"{}\"\nport = {}\ndatabase = \"{}\"\nuser = \"rowgate\"\n\
             [logins.sam]\npassword = \"demo\"\n\
             [[providers]]\nkind = \"sql\"\npreset = \"ai_permissions\"\nuser = \"{reader}\"\npassword = \"reads\"\n",
            example.gate.config.upstream.host,
            example.gate.config.upstream.port,
            example.gate.database,
        );
        let file = example.folder.path().join("tables.toml");
        let config = Config::parse(&text, &file).unwrap();
        let providers = rowgate::app::providers(&config.providers).await.unwrap();
        Self {
            resolver: providers.resolver(),
            config,
            _providers: providers,
        }
    }
}

async fn taken_away_counts_at_once(owner: &Client, resolver: &Resolver) {
    // What is taken away, on any level, and what has expired does not count at once.
    for (sql, user, gone, left) in [
        (
            "DELETE FROM public.ai_action_permissions WHERE permission = 'fetch_loan'",
            "loan-bot",
            "fetch_loan",
            "access_ai_chat",
        ),
        (
            "DELETE FROM public.ai_category_actions WHERE action = 'Review Decisions'",
            "sam",
            "read_risk_note",
            "fetch_account",
        ),
        (
            "UPDATE public.ai_user_permissions SET expires_at = now() WHERE permission = 'fetch_transaction'",
            "fraud-bot",
            "fetch_transaction",
            "access_ai_chat",
        ),
        (
            "DELETE FROM public.ai_roles WHERE name = 'Customer Service Agent'",
            "carla",
            "fetch_customer",
            "",
        ),
    ] {
        owner.batch_execute(sql).await.unwrap();
        let principal = resolver.principal(&Caller::assumed(user)).await.unwrap();
        assert!(!principal.has_permission(gone), "{sql}");
        assert!(left.is_empty() || principal.has_permission(left), "{sql}");
    }
}

async fn the_tables_refuse_what_makes_no_sense(owner: &Client) {
    for wrong in [
        "INSERT INTO public.ai_category_actions VALUES ('Assess Loans', 'No such action')",
        "INSERT INTO public.ai_permissions (api) VALUES ('fetch_*')",
        "INSERT INTO public.ai_user_roles VALUES ('sam', 'Assess Loans')",
        "INSERT INTO public.ai_roles VALUES ('')",
    ] {
        let refused = owner.batch_execute(wrong).await.unwrap_err();
        assert!(
            refused.code().unwrap().code().starts_with("23"),
            "{wrong}: {refused}"
        );
    }
}
