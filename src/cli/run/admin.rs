//! The admin API of a running gate.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;

use super::access::at_each_change;
use super::threads::on_own_thread;
use crate::admin::{self, Access, Desk, PolicyDesk, Settings};
use crate::clock::Clock;
use crate::config::{AdminConfig, Config};
use crate::server::sockets::Sockets;
use crate::sign::Gate;

/// Reads the credentials, if there is a listener for them.
///
/// # Errors
/// A file that cannot be used.
pub(in crate::cli) fn access(
    config: &AdminConfig,
    clock: &Clock,
) -> anyhow::Result<Option<Arc<Access>>> {
    if config.address.is_none() {
        return Ok(None);
    }
    let access = Access::load(config, clock.clone()).context("[admin]")?;
    for file in access.world_readable() {
        tracing::warn!(
            event = "access_warning",
            "{} can be read by everybody: it should be readable by the gate alone",
            file.display()
        );
    }
    Ok(Some(access))
}

/// Serves the API, if it is configured.
pub(super) fn serve(
    config: &Config,
    gate: &Arc<Gate>,
    access: Option<Arc<Access>>,
    policy: Box<dyn PolicyDesk>,
    sockets: &Mutex<Sockets>,
) -> anyhow::Result<Option<(Arc<Desk>, SocketAddr)>> {
    let Some((address, access)) = config.admin.address.zip(access) else { return Ok(None) };
    watch(&access)?;
    let settings = Settings::of(&config.admin);
    let desk = Desk::new(Arc::clone(gate), access, policy, settings);
    let desk = Arc::new(desk.context("cannot read the grants of before")?);
    let listener = sockets.lock().listen(address);
    let listener =
        listener.with_context(|| format!("cannot listen on {address} (admin.address)"))?;
    let bound = admin::serve(listener, &desk).context("no thread for the admin API")?;
    Ok(Some((desk, bound)))
}

/// Reads the files again on SIGHUP, and when they have changed.
fn watch(access: &Arc<Access>) -> anyhow::Result<()> {
    let access = Arc::clone(access);
    on_own_thread("admin-files", move || async move {
        let reread = || match access.reload() {
            Ok(()) => {
                tracing::info!(
                    event = "admin_access_reloaded",
                    "admin credentials were read again"
                );
            }
            Err(error) => tracing::error!(
                event = "admin_access_not_reloaded",
                reason = crate::enrolment::with_causes(&error),
                "admin credentials could not be read again; those read before still hold"
            ),
        };
        at_each_change(&access.files(), reread).await;
    })
}
