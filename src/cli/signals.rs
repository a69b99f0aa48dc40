//! Ctrl-C and SIGTERM.

use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first Ctrl-C (SIGINT), SIGTERM or SIGHUP of a closed terminal when `hangup`.
///
/// # Errors
/// When the handlers cannot be installed.
pub(super) fn shutdown(hangup: bool) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // SIGHUP is `serve`'s order to reload, and for the demo the end of its terminal.
    let mut hung_up = if hangup {
        Some(signal(SignalKind::hangup())?)
    } else {
        None
    };
    Ok(async move {
        let terminal_closed = async {
            match &mut hung_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = terminal_closed => {}
        }
    })
}
