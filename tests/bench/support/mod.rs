//! What the end-to-end benchmarks share: a cluster with a million invoices in it, a gate as a process of its
//! own in front of it, a cheap client, and the CPU time of each.
//!
//! The cluster is made for the run and removed; with `ROWGATE_BENCH_FOLDER` it is kept there and used again.

#![allow(dead_code, reason = "each benchmark uses its own part of this")]

mod client;
mod measure;

#[allow(unused_imports, reason = "as above")]
pub use client::{Client, Login, Seen};
#[allow(unused_imports, reason = "as above")]
pub use measure::{cpu_ns, median, memory_kb, print_table, server_cpu_ns};
use rowgate::config::Enforcement;
use rowgate::demo::{Cluster, ClusterOptions, DATA, MILLION, PASSWORD, SCHEMA, Setup, prepare};
use secrecy::ExposeSecret;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The database with a million invoices.
pub const MILLION_DATABASE: &str = "million";
/// A copy of it under native row-level security.
pub const NATIVE_DATABASE: &str = "native";
/// Whom row-level security applies to in the copy.
const NATIVE_USER: &str = "native";

/// The predicates of the permission views as policies, in the spelling that PostgreSQL plans best, which is
/// also the one `apply` installs.
const NATIVE: &str = "
    DO $$ BEGIN CREATE ROLE native LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    ALTER ROLE native PASSWORD 'demo';
    GRANT USAGE ON SCHEMA public, rowgate TO native;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rowgate TO native;
    GRANT SELECT ON public.customers, public.departments, public.invoices, public.transactions, public.permissions TO native;
    ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY;
    ALTER TABLE public.departments ENABLE ROW LEVEL SECURITY;
    ALTER TABLE public.invoices ENABLE ROW LEVEL SECURITY;
    ALTER TABLE public.transactions ENABLE ROW LEVEL SECURITY;
    CREATE POLICY seen ON public.customers FOR SELECT TO native USING (department = ANY (ARRAY(
        SELECT p.department FROM public.permissions p WHERE p.allowed_role = ANY ((SELECT rowgate.roles())::text[]))));
    CREATE POLICY seen ON public.departments FOR SELECT TO native USING (name = ANY (ARRAY(
        SELECT p.department FROM public.permissions p WHERE p.allowed_role = ANY ((SELECT rowgate.roles())::text[]))));
    CREATE POLICY seen ON public.invoices FOR SELECT TO native USING (department = ANY (ARRAY(
        SELECT p.department FROM public.permissions p WHERE p.allowed_role = ANY ((SELECT rowgate.roles())::text[]))));
    CREATE POLICY seen ON public.transactions FOR SELECT TO native USING (department = ANY (ARRAY(
        SELECT p.department FROM public.permissions p WHERE p.allowed_role = ANY ((SELECT rowgate.roles())::text[]))));
";

/// The cluster of a benchmark.
pub struct World {
    pub cluster: Cluster,
    pub runtime: tokio::runtime::Runtime,
}

impl World {
    pub fn start() -> Self {
        let folder = std::env::var_os("ROWGATE_BENCH_FOLDER").map(PathBuf::from);
        let settings = [
            ("max_connections", "200"),
            ("shared_buffers", "512MB"),
            ("max_wal_size", "8GB"),
            ("fsync", "off"),
            ("autovacuum", "off"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let cluster = Cluster::start(&ClusterOptions {
            folder,
            settings: settings.to_vec(),
            ..ClusterOptions::default()
        })
        .unwrap_or_else(|error| panic!("{error}\nhint: {}", error.hint()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        Self { cluster, runtime }
    }

    pub fn postmaster(&self) -> u32 {
        let path = self.cluster.folder().join("data/postmaster.pid");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    pub fn run(&self, database: &str, sql: &str) {
        self.runtime.block_on(async {
            let client = self.cluster.connect(database).await.unwrap();
            client.batch_execute(sql).await.unwrap();
        });
    }

    pub fn exists(&self, database: &str) -> bool {
        self.runtime.block_on(async {
            let client = self.cluster.connect("postgres").await.unwrap();
            let known = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1";
            client
                .query_opt(known, &[&database])
                .await
                .unwrap()
                .is_some()
        })
    }

    /// The superuser, who is under no row-level security.
    pub fn superuser(&self, database: &str) -> Login {
        Login {
            port: self.cluster.port(),
            database: database.to_owned(),
            user: "postgres".to_owned(),
            password: self.cluster.password().expose_secret().to_owned(),
        }
    }

    /// The small example; the gate's configuration file.
    pub fn example(&self) -> PathBuf {
        self.prepare("example", vec![SCHEMA.into(), DATA.into()], None)
    }

    /// Loads the million invoices and installs the example's views; the gate's configuration file.
    pub fn million(&self) -> PathBuf {
        let fresh = !self.exists(MILLION_DATABASE);
        let folder = self.prepare(MILLION_DATABASE, vec![SCHEMA.into(), MILLION.into()], None);
        if fresh {
            eprintln!("loaded a million invoices");
            self.run(MILLION_DATABASE, "VACUUM ANALYZE");
        }
        folder
    }

    /// The copy under native row-level security; needs [`World::million`]. Whom it applies to.
    pub fn native(&self) -> Login {
        if !self.exists(NATIVE_DATABASE) {
            let copy = format!("CREATE DATABASE {NATIVE_DATABASE} TEMPLATE {MILLION_DATABASE}");
            self.run("postgres", &copy);
            self.run(NATIVE_DATABASE, NATIVE);
            self.run(NATIVE_DATABASE, "VACUUM ANALYZE");
        }
        Login {
            port: self.cluster.port(),
            database: NATIVE_DATABASE.to_owned(),
            user: NATIVE_USER.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    /// A database behind a gate; the gate's configuration, roles from a file, so that nothing but the
    /// query costs the database anything.
    pub fn prepare(&self, database: &str, sql: Vec<String>, views: Option<&Path>) -> PathBuf {
        let setup = Setup {
            database: database.to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            enforcement: Enforcement::Barrier,
            sql,
            views: views.map(Path::to_owned),
            scenario: None,
            managed: false,
            configuration: String::new(),
        };
        self.runtime
            .block_on(prepare(&self.cluster, &setup))
            .unwrap();
        let folder = self.cluster.folder().join(format!("gate-{database}"));
        let path = folder.join("bench.toml");
        let text = std::fs::read_to_string(folder.join("rowgate.toml")).unwrap();
        let (before, rest) = text.split_once("[[providers]]").unwrap();
        let (_, behind) = rest.split_once("[audit]").unwrap();
        let provider = "[[providers]]\nkind = \"file\"\npath = \"roles.json\"\n\n[audit]";
        let zoe = format!("\n[logins.zoe]\npassword = \"{PASSWORD}\"\n");
        std::fs::write(&path, [before, provider, behind, &zoe].concat()).unwrap();
        std::fs::write(
            folder.join("roles.json"),
            r#"{"user_roles": {"bob": ["HR Manager"], "anne": ["HR Manager", "Sales Manager"], "zoe": ["Auditor"]},
                "attributes": {"bob": {"branch": ["1", "2", "3", "4", "5"]}}}"#,
        )
        .unwrap();
        path
    }

    /// Rowgate as a process of its own, over what [`World::prepare`] made.
    pub fn gate(&self, config: &Path, database: &str) -> Gate {
        let mut process = Command::new(env!("CARGO_BIN_EXE_rowgate"))
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut all = String::new();
        let port = loop {
            let mut line = String::new();
            assert!(
                said.read_line(&mut line).unwrap() > 0,
                "the gate did not start:\n{all}"
            );
            all += &line;
            if let Some((_, address)) = line.split_once("listens on ") {
                break address.trim().rsplit(':').next().unwrap().parse().unwrap();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Gate {
            process,
            port,
            database: database.to_owned(),
        }
    }
}

/// A running gate; ends with the value.
pub struct Gate {
    process: Child,
    pub port: u16,
    database: String,
}

impl Gate {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn login(&self, user: &str) -> Login {
        Login {
            port: self.port,
            database: self.database.clone(),
            user: user.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
