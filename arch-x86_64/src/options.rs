//! What the command line asks of the machine: `apic=xapic|x2apic` and `cpus=N`. Other keys are the kernel's.

use crate::apic::ApicMode;
use core::{fmt, num::NonZeroUsize};

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The APIC mode, if one is forced.
    pub apic: Option<ApicMode>,
    /// How many CPUs to use at most.
    pub cpus: Option<NonZeroUsize>,
}

/// A value that does not exist. It is not kept: the command line is printed beside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionError {
    /// `apic=` is neither of its two values.
    Apic,
    /// `cpus=` is no number above zero.
    Cpus,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apic => "command line: apic= must be xapic or x2apic",
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
            match (key, value) {
                ("apic", "xapic") => options.apic = Some(ApicMode::Xapic),
                ("apic", "x2apic") => options.apic = Some(ApicMode::X2apic),
                ("apic", _) => return Err(OptionError::Apic),
                ("cpus", number) => options.cpus = Some(number.parse().map_err(|_| OptionError::Cpus)?),
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
        let options = Options::parse("policy=wfq apic=xapic cpus=3 quiet").unwrap();
        assert_eq!(options, Options { apic: Some(ApicMode::Xapic), cpus: NonZeroUsize::new(3) });
        assert_eq!(Options::parse(""), Ok(Options::default()));
    }

    #[test]
    fn impossible_values_are_refused() {
        assert_eq!(Options::parse("apic=x3apic"), Err(OptionError::Apic));
        assert_eq!(Options::parse("cpus=0"), Err(OptionError::Cpus));
        assert_eq!(Options::parse("cpus=-1"), Err(OptionError::Cpus));
    }
}
