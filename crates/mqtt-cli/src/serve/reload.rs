//! SIGHUP: files that may change while the broker runs are read again, each kind for itself.

use mqtt_broker::{Broker, Tls};

use super::access::Rules;

/// Reads certificates, keys, passwords and access lists again at each SIGHUP, for as long as the program runs.
#[cfg(unix)]
pub(crate) fn on_hangup(broker: Broker, tls: Option<Tls>, rules: Option<Rules>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let (tls, rules) = (tls.clone(), rules.clone());
            let in_force = rules.clone();
            let reading = tokio::task::spawn_blocking(move || reload(tls.as_ref(), rules.as_ref()));
            match (reading.await, in_force) {
                // Who is connected is held against what is in force now.
                (Ok(true), Some(rules)) => rules.control().recheck(&broker).await,
                (Ok(_), _) => {}
                (Err(error), _) => tracing::error!(%error, "reading files again"),
            }
        }
    });
    Ok(())
}

/// Where there is no SIGHUP, what has changed takes a restart.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same as where signals can fail")]
pub(crate) fn on_hangup(_broker: Broker, _tls: Option<Tls>, _rules: Option<Rules>) -> std::io::Result<()> {
    Ok(())
}

/// Says whether there are other passwords and rights than before.
#[cfg(unix)]
fn reload(tls: Option<&Tls>, rules: Option<&Rules>) -> bool {
    match tls.map(Tls::reload) {
        Some(Ok(())) => tracing::info!("certificates and keys were read again"),
        Some(Err(error)) => tracing::error!(%error, "the certificates and keys stay as they were"),
        None => {}
    }
    match rules.map(Rules::reload) {
        Some(Ok(())) => {
            tracing::info!("passwords and access lists were read again");
            true
        }
        Some(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "the passwords and access lists stay as they were");
            false
        }
        None => false,
    }
}
