//! Logs, to standard error: lines for people or JSON for machines, filtered as `[log]` says.

use std::backtrace::Backtrace;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::{Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat};

mod ecs;
mod limit;

#[cfg(test)]
mod tests;

pub use self::limit::LogLimit;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `log.level` is no filter. The operator's to mend; a loaded configuration never has one.
    #[error("log.level is not a log filter")]
    Filter(#[from] ParseError),
    /// Logging was set up before. A bug.
    #[error("logging is set up already")]
    Twice(#[from] TryInitError),
}

/// Sets up the log of the process, panics included.
///
/// # Errors
/// See [`LoggingError`].
pub fn init(config: &LogConfig) -> Result<(), LoggingError> {
    let coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    subscriber(config, io::stderr, coloured)?.try_init()?;
    log_panics();
    Ok(())
}

fn subscriber<W>(
    config: &LogConfig,
    writer: W,
    coloured: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&config.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match config.format {
        LogFormat::Plain => Box::new(builder.with_ansi(coloured).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
        LogFormat::Ecs => Box::new(builder.event_format(ecs::Ecs).finish()),
    })
}

/// Reports every panic as an event of the log; where there is no log yet, as before.
fn log_panics() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        if !tracing::enabled!(Level::ERROR) {
            return previous(panic);
        }
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        tracing::error!(
            message = "panicked",
            panic = message.unwrap_or("a value that is not text"),
            location,
            thread = thread.name().unwrap_or("unnamed"),
            backtrace = %Backtrace::capture(),
        );
    }));
}
