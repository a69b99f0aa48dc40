//! `rowgate plan`, `apply`, `check`.

use super::serve::load;
use super::{Exit, Failure, Outcome, args, print, progress};
use crate::app::{self, ControlLogin};
use crate::config::{Config, Enforcement};
use crate::identity::Principal;
use crate::install::{self, Finding, InstallError, InstallOptions, LoginKind, Passwords, Severity};
use crate::policy::{PermissionView, Policy};
use std::fmt::Write as _;

pub(super) async fn plan(arguments: args::WithConfig) -> Outcome {
    let config = load(&arguments)?;
    barrier_only(&config, "plan")?;
    let views = install::read_views(&config.views, config.tuples.as_ref()).map_err(failure)?;
    let client = connect(&config, ControlLogin::Admin).await?;
    let text = install::plan(&client, &views, &options(&config))
        .await
        .map_err(failure)?;
    print(&text);
    Ok(Exit::Ok)
}

pub(super) async fn apply(arguments: args::WithConfig) -> Outcome {
    let config = load(&arguments)?;
    barrier_only(&config, "apply")?;
    let views = install::read_views(&config.views, config.tuples.as_ref()).map_err(failure)?;
    progress(&format!(
        "installing {} permission views in database {} ...",
        views.len(),
        config.upstream.database
    ));
    let mut client = connect(&config, ControlLogin::Admin).await?;
    let passwords = Passwords {
        login: config.upstream.password.clone(),
        superuser_login: config.upstream.superuser_password.clone(),
    };
    install::apply(&mut client, &views, &options(&config), &passwords)
        .await
        .map_err(failure)?;
    progress("done; `rowgate check` compares, `rowgate serve` lets clients in");
    Ok(Exit::Ok)
}

pub(super) async fn check(arguments: args::Check) -> Outcome {
    let config = load(&arguments.config)?;
    permission_files(&config)?;
    progress("configuration: ok");
    let views = install::read_views(&config.views, config.tuples.as_ref()).map_err(failure)?;
    progress(&format!("view files: ok ({})", views.len()));
    let mut findings = compare(&config, &views).await?;
    findings.extend(super::tags::check(&config, &views).await?);
    if arguments.strict {
        findings.extend(super::catalogue::check(&config, &views).await?);
    }
    let installed = findings.is_empty();
    for (login, kind) in logins(&config) {
        let client = match app::connect(&config, login).await {
            Ok(client) => client,
            // What `apply` has not made yet cannot log in.
            Err(error) if !installed => {
                findings.push(broken(
                    &error,
                    "every query runs as it",
                    Some("rowgate apply"),
                ));
                continue;
            }
            Err(error) => return Err(Failure::Unreachable(error)),
        };
        let found = install::posture(&client, config.enforcement, kind, &views).await;
        findings.extend(found.unwrap_or_else(|errors| errors));
    }
    // As `serve` does when it starts: each is asked once.
    match app::permissions(&config).await {
        Ok(_) => progress(&format!("providers: ok ({})", config.providers.len())),
        Err(error) => {
            let why = "`rowgate serve` does not start without every provider";
            findings.push(broken(&error, why, None));
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report(&findings);
    if findings.is_empty() {
        Ok(Exit::Ok)
    } else {
        Ok(Exit::Findings)
    }
}

/// Something that `serve` would not start with.
fn broken(error: &anyhow::Error, why: &str, fix: Option<&str>) -> Finding {
    Finding {
        severity: Severity::Error,
        what: format!("{error:#}"),
        why: why.to_owned(),
        fix: fix.map(str::to_owned),
    }
}

/// The hierarchy, and the four levels of AI permissions: everything wrong with them at once.
fn permission_files(config: &Config) -> Result<(), Failure> {
    let problems = app::permission_problems(config);
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = problems.iter().map(|says| format!("  {says}")).collect();
    Err(Failure::Usage(anyhow::anyhow!(
        "{} problem(s) in who holds what:\n{}",
        problems.len(),
        lines.join("\n")
    )))
}

/// Files against database, as the administrator; skipped, and said so, without an administrator's login.
async fn compare(config: &Config, views: &[PermissionView]) -> Result<Vec<Finding>, Failure> {
    if config.upstream.admin_user.is_none() {
        progress("database: not compared (upstream.admin_user is not set)");
        return Ok(Vec::new());
    }
    let mut client = connect(config, ControlLogin::Admin).await?;
    install::check(
        &mut client,
        views,
        config.enforcement,
        &options(config),
        &[],
    )
    .await
    .map_err(failure)
}

fn report(findings: &[Finding]) {
    let mut text = String::new();
    for finding in findings {
        // Writing to a String cannot fail.
        writeln!(text, "{finding}\n").ok();
    }
    match findings.len() {
        0 => text.push_str("nothing found: files, database and roles agree\n"),
        1 => text.push_str("1 finding\n"),
        n => {
            writeln!(text, "{n} findings").ok();
        }
    }
    print(&text);
}

fn logins(config: &Config) -> Vec<(ControlLogin, LoginKind)> {
    let mut logins = vec![(ControlLogin::Gate, LoginKind::Ordinary)];
    if config.upstream.superuser_user.is_some() {
        logins.push((ControlLogin::Superuser, LoginKind::Superuser));
    }
    logins
}

fn options(config: &Config) -> InstallOptions {
    InstallOptions {
        login: config.upstream.user.clone(),
        superuser_login: config.upstream.superuser_user.clone(),
        ..InstallOptions::default()
    }
}

fn barrier_only(config: &Config, command: &str) -> Result<(), Failure> {
    match config.enforcement {
        Enforcement::Barrier => Ok(()),
        Enforcement::Inline => Err(Failure::Usage(anyhow::anyhow!(
            "`rowgate {command}` has nothing to do: with enforcement = \"inline\" nothing is installed in \
             the database"
        ))),
    }
}

/// Who a user is by the providers' word, and what the policy says: for the commands that tell about one user.
pub(super) struct About {
    pub(super) config: Config,
    pub(super) principal: Principal,
    pub(super) policy: Policy,
}

/// Asks the providers about a user, and the database about the views.
pub(super) async fn about(arguments: &args::WithConfig, user: &str) -> Result<About, Failure> {
    let config = load(arguments)?;
    let principal = app::principal(&config, user)
        .await
        .map_err(Failure::Unreachable)?;
    let client = connect(&config, ControlLogin::Gate).await?;
    let policy = install::load_policy(
        &config.views,
        &client,
        config.enforcement,
        config.tuples.as_ref(),
    )
    .await
    .map_err(failure)?;
    Ok(About {
        config,
        principal,
        policy,
    })
}

pub(super) async fn connect(
    config: &Config,
    login: ControlLogin,
) -> Result<tokio_postgres::Client, Failure> {
    app::connect(config, login)
        .await
        .map_err(Failure::Unreachable)
}

pub(super) fn failure(error: InstallError) -> Failure {
    match error {
        InstallError::Policy(_) | InstallError::Files(_) | InstallError::Drift(_) => {
            Failure::Usage(error.into())
        }
        InstallError::Database(_) => Failure::Unreachable(error.into()),
    }
}
