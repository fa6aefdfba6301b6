//! The `log` facade over the console: a line is `LEVEL target: text`.

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};

struct ConsoleLogger;

impl Log for ConsoleLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            crate::println!("{} {}: {}", record.level(), record.target(), record.args());
        }
    }

    /// Each line is written at once.
    fn flush(&self) {}
}

/// Lets `log`'s macros print what is at least as important as `level`. Fails if there is a logger already.
pub fn initialize(level: LevelFilter) -> Result<(), SetLoggerError> {
    log::set_logger(&ConsoleLogger)?;
    log::set_max_level(level);
    Ok(())
}
