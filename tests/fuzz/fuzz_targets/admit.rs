//! Any bytes as SQL: `split` and `admit` never panic, and what is admitted names no hidden table.
#![no_main]

#[path = "../../attacks/grants.rs"]
#[allow(dead_code)]
mod grants;

use libfuzzer_sys::fuzz_target;
use rowgate::limits::Limits;
use rowgate::sql::statement::split;
use rowgate::sql::{Options, admit};

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, bytes)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let options = Options {
        limits: Limits::default(),
        open_allowed: mode & 1 == 1,
        parameter_types: Vec::new(),
    };
    let grants = if mode & 2 == 2 { grants::inline() } else { grants::barrier() };
    if let Ok(statements) = split(&text, &options.limits) {
        for statement in statements {
            if let Some(query) = statement.query() {
                let _ = admit(query, &grants, &options);
            }
        }
    }
    let _ = admit(&text, &grants, &options);
});
