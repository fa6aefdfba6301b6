//! The kernel command line: `key=value` pairs, separated by spaces. Every unknown key and impossible value is an error
//! that names itself; nothing is guessed.

use core::fmt;
use hal::{CpuSet, Duration};
use kernel_core::sched::Policy;

/// Which interrupt controller mode was asked for. The platform acts on it; the kernel only checks the spelling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApicMode {
    /// The memory-mapped one.
    Xapic,
    /// The one in model-specific registers.
    X2apic,
}

/// What the kernel does after boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Runs the programs of the manifest.
    #[default]
    Run,
    /// Checks the machine against the HAL contract and powers off.
    Conformance,
    /// Runs the programs and panics when the first one exits: shows that the last words come out.
    Panic,
}

/// The command line, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// `apic=xapic|x2apic`.
    pub apic: Option<ApicMode>,
    /// `cpus=N`: use only the first N.
    pub cpus: Option<u16>,
    /// `seconds=N`: how long the run lasts at most.
    pub seconds: Option<Duration>,
    /// `policy=wfq|eevdf`.
    pub policy: Option<Policy>,
    /// `mode=run|conformance|panic`.
    pub mode: Mode,
    /// `reports=off`: no accounts are printed while programs run.
    pub without_reports: bool,
    /// `trace=on`: what the scheduler does is recorded, and printed at the end.
    pub trace: bool,
}

/// The longest run that can be asked for: a day.
const MAX_SECONDS: u64 = 86_400;

/// What is wrong with the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandLineError<'a> {
    /// A word without `=`.
    NotAPair(&'a str),
    /// Nothing has this key.
    UnknownKey(&'a str),
    /// The key was given before.
    Repeated(&'a str),
    /// The value is not one of those that the key has.
    BadValue {
        /// The key.
        key: &'a str,
        /// The value.
        value: &'a str,
        /// What would be right.
        expected: &'static str,
    },
}

impl fmt::Display for CommandLineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPair(word) => write!(f, "'{word}' is not key=value"),
            Self::UnknownKey(key) => {
                write!(f, "unknown key '{key}' (there are apic, cpus, seconds, policy, mode, reports and trace)")
            }
            Self::Repeated(key) => write!(f, "'{key}' is given twice"),
            Self::BadValue { key, value, expected } => write!(f, "{key}={value}: expected {expected}"),
        }
    }
}

/// Reads a command line.
pub fn parse(line: &str) -> Result<Options, CommandLineError<'_>> {
    let mut options = Options::default();
    let words = line.split_ascii_whitespace();
    for (position, word) in words.clone().enumerate() {
        let (key, value) = word.split_once('=').ok_or(CommandLineError::NotAPair(word))?;
        let is_key = |other: &str| other.split_once('=').is_some_and(|(earlier, _)| earlier == key);
        if words.clone().take(position).any(is_key) {
            return Err(CommandLineError::Repeated(key));
        }
        set(&mut options, key, value)?;
    }
    Ok(options)
}

fn set<'a>(options: &mut Options, key: &'a str, value: &'a str) -> Result<(), CommandLineError<'a>> {
    match key {
        "apic" => {
            let modes = [("xapic", ApicMode::Xapic), ("x2apic", ApicMode::X2apic)];
            options.apic = Some(choice(key, value, "xapic or x2apic", &modes)?);
        }
        "cpus" => {
            let count = number(key, value, CpuSet::<8>::CAPACITY as u64, "a number from 1 to 512")?;
            options.cpus = Some(count as u16);
        }
        "seconds" => {
            let seconds = number(key, value, MAX_SECONDS, "a number from 1 to 86400")?;
            options.seconds = Some(Duration::from_secs(seconds));
        }
        "policy" => options.policy = Some(choice(key, value, "wfq or eevdf", &POLICIES)?),
        "mode" => {
            let modes = [("run", Mode::Run), ("conformance", Mode::Conformance), ("panic", Mode::Panic)];
            options.mode = choice(key, value, "run, conformance or panic", &modes)?;
        }
        "reports" => {
            options.without_reports = choice(key, value, "on or off", &[("on", false), ("off", true)])?;
        }
        "trace" => options.trace = choice(key, value, "on or off", &[("on", true), ("off", false)])?,
        _ => return Err(CommandLineError::UnknownKey(key)),
    }
    Ok(())
}

const POLICIES: [(&str, Policy); 2] = [("wfq", Policy::Wfq), ("eevdf", Policy::Eevdf)];

fn choice<'a, T: Copy>(
    key: &'a str,
    value: &'a str,
    expected: &'static str,
    choices: &[(&str, T)],
) -> Result<T, CommandLineError<'a>> {
    let found = choices.iter().find(|(name, _)| *name == value);
    found.map(|&(_, choice)| choice).ok_or(CommandLineError::BadValue { key, value, expected })
}

fn number<'a>(key: &'a str, value: &'a str, max: u64, expected: &'static str) -> Result<u64, CommandLineError<'a>> {
    let error = CommandLineError::BadValue { key, value, expected };
    // `parse` alone would take a leading plus sign.
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error);
    }
    value.parse().ok().filter(|number| (1..=max).contains(number)).ok_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood_and_absent_ones_stay_open() {
        let options =
            parse("apic=xapic cpus=4  seconds=12 policy=eevdf mode=conformance trace=on reports=off").unwrap();
        assert_eq!(options.apic, Some(ApicMode::Xapic));
        assert_eq!((options.cpus, options.seconds), (Some(4), Some(Duration::from_secs(12))));
        assert!(matches!(options.policy, Some(Policy::Eevdf)));
        assert_eq!((options.mode, options.without_reports, options.trace), (Mode::Conformance, true, true));
        assert_eq!(parse("trace=off"), Ok(Options::default()));
        assert_eq!(parse("  "), Ok(Options::default()));
    }

    #[test]
    fn unknown_keys_and_impossible_values_name_themselves() {
        assert_eq!(parse("quiet"), Err(CommandLineError::NotAPair("quiet")));
        assert_eq!(parse("cpu=4"), Err(CommandLineError::UnknownKey("cpu")));
        assert_eq!(parse("cpus=4 cpus=4"), Err(CommandLineError::Repeated("cpus")));
        for bad in [
            "cpus=0",
            "cpus=513",
            "cpus=",
            "cpus=-1",
            "cpus=+1",
            "cpus=99999999999999999999",
            "seconds=0",
            "apic=x",
            "policy=fifo",
            "mode=",
            "trace=1",
            "reports=1",
        ] {
            assert!(matches!(parse(bad), Err(CommandLineError::BadValue { .. })), "{bad}");
        }
        let error = std::format!("{}", parse("cpus=0").unwrap_err());
        assert_eq!(error, "cpus=0: expected a number from 1 to 512");
    }
}
