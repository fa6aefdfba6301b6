//! What the command line asks of the machine: `cpus=N`. Other keys are the kernel's.

use core::{fmt, num::NonZeroUsize};

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// How many CPUs to use at most.
    pub cpus: Option<NonZeroUsize>,
}

/// Something that this machine cannot do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionError {
    /// `apic=` names a device of another architecture.
    Apic,
    /// `cpus=` is no number above zero.
    Cpus,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apic => "command line: apic= is an option of x86_64, this is aarch64",
            Self::Cpus => "command line: cpus= must be a number above zero",
        })
    }
}

impl core::error::Error for OptionError {}

impl Options {
    /// Reads the command line; the last of several values of one key counts.
    pub fn parse(command_line: &str) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for (key, value) in command_line.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
            match key {
                "apic" => return Err(OptionError::Apic),
                "cpus" => options.cpus = Some(value.parse().map_err(|_| OptionError::Cpus)?),
                _ => {}
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_are_read_and_other_keys_are_left_alone() {
        assert_eq!(Options::parse("policy=wfq cpus=3 quiet"), Ok(Options { cpus: NonZeroUsize::new(3) }));
        assert_eq!(Options::parse(""), Ok(Options::default()));
    }

    #[test]
    fn impossible_values_and_devices_are_refused() {
        assert_eq!(Options::parse("apic=xapic"), Err(OptionError::Apic));
        assert_eq!(Options::parse("cpus=0"), Err(OptionError::Cpus));
    }
}
