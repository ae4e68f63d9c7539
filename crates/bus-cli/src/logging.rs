//! Log events to stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt::format::FmtSpan};

use crate::flags::LogFormat;

/// What decides which events are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logging {
    /// How events look.
    pub(crate) format: LogFormat,
    /// The least level shown, where `RUST_LOG` does not say otherwise.
    pub(crate) level: LevelFilter,
    /// Whether `RUST_LOG` counts.
    pub(crate) environment: bool,
}

impl Logging {
    /// The level for `-q` and `-v`, from where the verb starts.
    pub(crate) fn level(usual: LevelFilter, quiet: bool, verbose: u8) -> LevelFilter {
        const LEVELS: [LevelFilter; 5] = [
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
            LevelFilter::TRACE,
        ];
        if quiet {
            return LevelFilter::ERROR;
        }
        let start = LEVELS.iter().position(|level| *level == usual).unwrap_or(1);
        LEVELS[(start + usize::from(verbose)).min(LEVELS.len() - 1)]
    }

    /// Installs it for the whole program. A second call changes nothing.
    pub(crate) fn install(self) {
        let filter = EnvFilter::builder().with_default_directive(self.level.into());
        let filter = if self.environment {
            filter.from_env_lossy()
        } else {
            filter.parse_lossy("")
        };
        // Dependencies speak at debug level of things that only their authors can use.
        let quiet = [
            "h2=info",
            "hyper=info",
            "hyper_util=info",
            "rustls=info",
            "tungstenite=info",
        ];
        let filter = quiet
            .into_iter()
            .filter_map(|directive| directive.parse().ok())
            .fold(filter, EnvFilter::add_directive);
        let colours =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_span_events(FmtSpan::NONE)
            .with_ansi(colours);
        let installed = match self.format {
            LogFormat::Text => builder.with_target(false).try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        if let Err(error) = installed {
            tracing::debug!(%error, "logging was installed already");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_moves_the_level_and_quiet_ends_it() {
        assert_eq!(
            Logging::level(LevelFilter::WARN, false, 0),
            LevelFilter::WARN
        );
        assert_eq!(
            Logging::level(LevelFilter::WARN, false, 1),
            LevelFilter::INFO
        );
        assert_eq!(
            Logging::level(LevelFilter::INFO, false, 9),
            LevelFilter::TRACE
        );
        assert_eq!(
            Logging::level(LevelFilter::INFO, true, 0),
            LevelFilter::ERROR
        );
    }
}
