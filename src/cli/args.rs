//! The command line as clap reads it; the help texts teach.

use crate::config::preset::{PRESETS, Preset, preset};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, nothing to object to
  1  check found something, explain shows a refusal, a grant was refused, or a policy test failed
  2  the command line, the configuration, a view or a test file is wrong
  3  the database, a provider or a port could not be reached or used

Start with:
  rowgate demo

For a database of your own: write rowgate.toml and views/, then
  rowgate check                 is everything right?
  rowgate plan                  what would be installed in the database
  rowgate apply                 install it
  rowgate test                  does everyone see what they should, and no more?
  rowgate serve                 let clients in";

/// Lets an AI agent's SQL read only the rows and columns its end user may see.
///
/// Rowgate stands between any PostgreSQL client and PostgreSQL. Only SELECT passes, and every table a
/// query names is replaced by the permission view for the user who asks: one SQL file a table, in views/.
#[derive(Debug, Parser)]
#[command(name = "rowgate", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Arguments {
    /// What to log to standard error: error, warn, info, debug, trace, or a filter such as
    /// rowgate::session=debug
    #[arg(long, global = true, value_name = "FILTER", env = "ROWGATE_LOG")]
    pub log: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a private PostgreSQL with the running example and Rowgate in front of it
    Demo(Demo),
    /// Serve the database of rowgate.toml
    Serve(WithConfig),
    /// Print the SQL that `apply` would run; changes nothing
    Plan(WithConfig),
    /// Install the permission views in the database, in one transaction
    Apply(WithConfig),
    /// Check configuration, views, database and upstream role; changes nothing
    Check(Check),
    /// Show what would happen to a query of one user, and why; runs nothing
    Explain(Explain),
    /// Print the data model one user sees, for an agent's system prompt
    Describe(Describe),
    /// Print what one user is and may do, as JSON
    Whoami(super::whoami::Arguments),
    /// Run policy tests: what users see and what is hidden from them, against the database
    Test(super::test::Arguments),
    /// What concerns the providers of roles and permissions
    Provider(Provider),
    /// Give a user a permission, a role or the like, for good or until a moment
    Grant(Grant),
    /// Take a permission, a role or the like from a user
    Revoke(Revoke),
    /// List the permissions granted to a user directly
    Permissions(Granted),
    /// List the roles granted to a user
    Roles(Granted),
    /// List the groups a user is a member of
    Groups(Granted),
    /// List the tags whose list of users names a user; define, drop and show tags
    Tags(Tags),
    /// List relation tuples
    Tuples(Tuples),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rowgate check --strict

With --strict each permission that a view or the configuration names has to be one of the four levels of AI permissions;
where it is not, file and line are named. Leave it out where permissions come from elsewhere as well.")]
pub(super) struct Check {
    #[command(flatten)]
    pub config: WithConfig,
    /// Compare the permissions that are asked for with the four levels of AI permissions
    #[arg(long)]
    pub strict: bool,
}

/// The commands about providers.
#[derive(Debug, Args)]
pub(super) struct Provider {
    #[command(subcommand)]
    pub command: ProviderCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ProviderCommand {
    /// Print the SQL that makes the tables of permissions tell every gate when they change
    Triggers(Triggers),
    /// Print the SQL that creates the tables of a preset, with their indexes, where they are missing
    Tables {
        /// user_roles, authz_permissions or ai_permissions
        #[arg(value_name = "PRESET", value_parser = preset_of)]
        preset: &'static Preset,
    },
}

fn preset_of(name: &str) -> Result<&'static Preset, String> {
    preset(name).ok_or_else(|| {
        let known = PRESETS.iter().map(|preset| preset.name);
        format!("the presets are {}", known.collect::<Vec<_>>().join(", "))
    })
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rowgate provider triggers | psql -d mydb                 for the tables of the configured presets
  rowgate provider triggers --provider user_roles          for one provider's
  rowgate provider triggers --table public.grants --user-column username
                                                           for a table of your own queries
  rowgate provider triggers --table public.role_rights     rows that concern more than one user

It is for a provider with cache_ms: a change then counts for the next statement on every instance, instead of
after cache_ms at the latest. Without triggers, send it yourself: NOTIFY rowgate_invalidate, 'bob' (one user)
or NOTIFY rowgate_invalidate (all).")]
pub(super) struct Triggers {
    #[command(flatten)]
    pub config: WithConfig,
    /// Only this provider's tables
    #[arg(long, value_name = "NAME", conflicts_with = "table")]
    pub provider: Option<String>,
    /// A table, as written in SQL; the configuration is not read
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Its column with the user id, as written in SQL; without it a change concerns everybody
    #[arg(long, value_name = "COLUMN", requires = "table")]
    pub user_column: Option<String>,
}

const MANAGED: &str = "\
What is granted is a row in the tables that [admin] of the configuration names, written with the login named there.
Every change is recorded in the audit before it takes effect, and every gate is told: it holds from the user's next
statement on. Exit code 1: refused; nothing has changed.";

/// What is granted or revoked: one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Granting {
    /// A permission, such as read:pii
    #[arg(long, short, value_name = "PERMISSION")]
    pub permission: Option<String>,
    /// A role, such as \"HR Manager\"
    #[arg(long, short, value_name = "ROLE")]
    pub role: Option<String>,
    /// Membership of a group, for tags
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// A place in the list of users of a tag whose access is "specific"
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// A relation tuple, such as document:7#viewer@user:bob; without --user
    #[arg(long, value_name = "TUPLE")]
    pub tuple: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = MANAGED, after_long_help = format!("\
Examples:
  rowgate grant --user bob --permission read:pii
  rowgate grant --user bob --role 'HR Manager' --until 2026-12-31T23:59:59Z
  rowgate grant --tuple 'document:7#viewer@group:eng#member'
  rowgate grant --user bob --permission raed:pii --strict      refused: no view asks for it

Granting again is harmless: nothing changes, or only the moment it ends.

{MANAGED}"))]
pub(super) struct Grant {
    #[command(flatten)]
    pub config: WithConfig,
    /// To whom
    #[arg(
        long,
        short,
        value_name = "USER",
        conflicts_with = "tuple",
        required_unless_present = "tuple"
    )]
    pub user: Option<String>,
    #[command(flatten)]
    pub what: Granting,
    /// When it ends by itself: ISO 8601 with a zone; without it, never
    #[arg(long, value_name = "MOMENT")]
    pub until: Option<String>,
    /// Refuse a permission that no view, column or setting asks for, instead of warning
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = MANAGED, after_long_help = format!("\
Examples:
  rowgate revoke --user bob --permission read:pii
  rowgate revoke --user bob --role 'HR Manager'

Revoking what is not granted is harmless. What comes from another place (a file, a token, a role's own permissions)
cannot be revoked here.

{MANAGED}"))]
pub(super) struct Revoke {
    #[command(flatten)]
    pub config: WithConfig,
    /// From whom
    #[arg(
        long,
        short,
        value_name = "USER",
        conflicts_with = "tuple",
        required_unless_present = "tuple"
    )]
    pub user: Option<String>,
    #[command(flatten)]
    pub what: Granting,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rowgate roles --user bob --json

Listed is what the tables of [admin] grant. What comes from elsewhere as well (files, tokens, what a role carries)
`rowgate explain` shows.")]
pub(super) struct Granted {
    #[command(flatten)]
    pub config: WithConfig,
    /// Whose; without it, everybody's
    #[arg(long, short, value_name = "USER")]
    pub user: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Tags {
    #[command(subcommand)]
    pub command: Option<TagCommand>,
    #[command(flatten)]
    pub granted: Granted,
}

#[derive(Debug, Subcommand)]
pub(super) enum TagCommand {
    /// Define a tag, or define it anew
    Define(TagDefine),
    /// Drop a tag: what carries only this tag is nobody's from then on
    Drop(TagDrop),
    /// List every tag with its definition
    Show(TagShow),
}

#[derive(Debug, Args)]
#[command(after_help = MANAGED, after_long_help = format!("\
Examples:
  rowgate tags define press --access public
  rowgate tags define diary --access private --owner anne
  rowgate tags define staff --access domain --allow company.com
  rowgate tags define deal-7 --access specific --allow bob --allow carol --owner anne
  rowgate tags define legal --access group --allow lawyers

Defining it again replaces access, owner and the whole list; the same again changes nothing and says so. A definition has no
end: lend access to its group or role instead.

{MANAGED}"))]
pub(super) struct TagDefine {
    #[command(flatten)]
    pub config: WithConfig,
    /// The tag
    #[arg(value_name = "TAG")]
    pub tag: String,
    /// public, private, domain, domains, specific or group
    #[arg(long, value_name = "ACCESS")]
    pub access: String,
    /// Who may always access it
    #[arg(long, value_name = "USER")]
    pub owner: Option<String>,
    /// A domain, user or group that goes with the access; may be given several times
    #[arg(long, value_name = "NAME")]
    pub allow: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = MANAGED)]
pub(super) struct TagDrop {
    #[command(flatten)]
    pub config: WithConfig,
    /// The tag
    #[arg(value_name = "TAG")]
    pub tag: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TagShow {
    #[command(flatten)]
    pub config: WithConfig,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The file most commands need.
#[derive(Debug, Args)]
pub(super) struct WithConfig {
    /// The configuration file
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "rowgate.toml",
        env = "ROWGATE_CONFIG"
    )]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rowgate demo                                    everything in a temporary folder, gone after Ctrl-C
  rowgate demo --data ./demo                      keep the database; the next start uses it again
  rowgate demo --listen 127.0.0.1:0               any free port
  rowgate demo --example examples/tags            another example: its data, views and configuration
  PG_BINDIR=/usr/lib/postgresql/16/bin rowgate demo
                                                  this PostgreSQL and no other

It needs the PostgreSQL server binaries (Debian, Ubuntu: apt-get install postgresql), and no running server.
PostgreSQL does not run as root; started by root, the demo runs it as the user postgres, else nobody.")]
pub(super) struct Demo {
    /// Where clients connect; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6432")]
    pub listen: SocketAddr,
    /// Keep the data in this folder
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Demonstrate this folder instead: fixtures/*.sql, views/, rowgate.toml (laid over the demo's own) and
    /// try.sql; each may be missing
    #[arg(long, value_name = "FOLDER")]
    pub example: Option<PathBuf>,
    /// Permission views to use instead of the example's
    #[arg(long, value_name = "FOLDER")]
    pub views: Option<PathBuf>,
    /// Where the filter lives: in views installed in the database, or in the query itself
    #[arg(long, value_enum, default_value_t = Enforcement::Barrier)]
    pub enforcement: Enforcement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Enforcement {
    /// security_barrier views installed in the database
    Barrier,
    /// nothing is installed; the view's body travels with the query
    Inline,
}

impl From<Enforcement> for crate::config::Enforcement {
    fn from(value: Enforcement) -> Self {
        match value {
            Enforcement::Barrier => Self::Barrier,
            Enforcement::Inline => Self::Inline,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rowgate describe --user bob >> system-prompt.txt

Tables, columns, types and descriptions come from views/ and from the comments in the database. What the
user may not see is not mentioned.")]
pub(super) struct Describe {
    #[command(flatten)]
    pub config: WithConfig,
    /// Whose data model
    #[arg(long, short, value_name = "USER")]
    pub user: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rowgate explain --user bob 'SELECT sum(amount) FROM invoices'
  rowgate explain --user bob 'DELETE FROM invoices'        refused, and what to send instead

Shown: the decision and its reason; the user's roles and the provider each came from; which form of the
views is read (sealed: behind a security barrier; open: proved that nothing can be observed on a hidden
row; inline: in the query itself) and why; the views used; the SQL PostgreSQL would receive.")]
pub(super) struct Explain {
    #[command(flatten)]
    pub config: WithConfig,
    /// Whose query
    #[arg(long, short, value_name = "USER")]
    pub user: String,
    /// The SQL, as the agent would send it
    #[arg(value_name = "SQL")]
    pub sql: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rowgate tuples --object document:7
  rowgate tuples --subject user:bob --json

Listed are the tuples of the table, not what follows from them; for that see the views that ask for objects.")]
pub(super) struct Tuples {
    #[command(flatten)]
    pub config: WithConfig,
    /// Of which object, such as document:7
    #[arg(long, value_name = "OBJECT")]
    pub object: Option<String>,
    /// Of which subject, such as user:bob
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_help() {
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn the_help_names_the_four_exit_codes() {
        let help = Arguments::command().render_help().to_string();
        for code in ["  0  ", "  1  ", "  2  ", "  3  "] {
            assert!(help.contains(code), "{help}");
        }
    }
}
