//! Logs: `tracing` to standard error. Nothing logged holds a secret or a row.

/// Starts logging; `filter` is `--log`'s value, else `RUST_LOG`, else `info`. Later calls do nothing.
///
/// # Errors
/// A sentence, when the filter cannot be read.
pub fn start(filter: Option<&str>) -> Result<(), String> {
    use tracing_subscriber::EnvFilter;
    let text = match filter {
        Some(text) => text.to_owned(),
        None => std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()),
    };
    let filter = EnvFilter::try_new(&text)
        .map_err(|error| format!("log filter \"{text}\" cannot be read: {error}"))?;
    let _already_started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .try_init();
    Ok(())
}
