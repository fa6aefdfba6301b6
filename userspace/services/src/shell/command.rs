//! What a line means. Every error is one line that names the word that is wrong.

use core::{fmt, str::FromStr};
use tessera_rt::abi::scheduling::{LatencyClass, MAX_WEIGHT, MIN_WEIGHT};
use tessera_rt::message::{CPU_WORDS, CpuWords};

/// The commands: how each is written, and what it does.
pub const HELP: &[(&str, &str)] = &[
    ("help", "this list"),
    ("ps", "processes and their threads"),
    ("top", "who runs, once a second until a key is pressed"),
    ("caps PID", "the capabilities that a process holds"),
    ("spawn NAME [weight=N] [class=C] [cpus=LIST] [-- ARGUMENTS]", "start a program of the boot image"),
    ("weight TID N", "give a thread a weight, 1 to 10000"),
    ("affinity TID LIST", "let a thread run on these CPUs alone, such as 0,2-3"),
    ("kill PID", "end a process"),
    ("why TID", "why a thread is not running"),
    ("resources", "what is in use in the whole system"),
    ("exit", "leave the shell"),
];

/// A thread as the operator names it: `SLOT:GENERATION`, or the slot alone for whoever has it now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tid {
    /// Low half of the id.
    pub slot: u32,
    /// High half of the id.
    pub generation: Option<u32>,
}

/// A program to be started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spawn<'l> {
    /// Its name in the boot image.
    pub name: &'l str,
    /// Its weight, if not the default.
    pub weight: Option<u16>,
    /// Its latency class, if not the default.
    pub class: Option<LatencyClass>,
    /// The CPUs that it may run on, if not all.
    pub cpus: Option<CpuWords>,
    /// Its argument string.
    pub arguments: &'l str,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command<'l> {
    /// Nothing: the line was empty.
    Nothing,
    /// Lists the commands.
    Help,
    /// Lists processes and threads.
    Ps,
    /// Shows who runs.
    Top,
    /// Lists a process's capabilities.
    Caps(u64),
    /// Starts a program.
    Spawn(Spawn<'l>),
    /// Changes a thread's weight.
    Weight(Tid, u16),
    /// Changes a thread's CPUs.
    Affinity(Tid, CpuWords),
    /// Ends a process.
    Kill(u64),
    /// Says why a thread does not run.
    Why(Tid),
    /// Counts what is in use.
    Resources,
    /// Ends the shell.
    Exit,
}

/// Why a line is no command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParseError<'l> {
    /// There is no such command.
    Unknown(&'l str),
    /// Something is missing; how the command is written.
    Missing(&'static str),
    /// A word too many.
    TooMuch(&'l str),
    /// A word that is not what stands at its place.
    Bad {
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: &'l str,
    },
}

impl fmt::Display for ParseError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "there is no command '{word}'; 'help' lists them"),
            Self::Missing(form) => write!(f, "it is written: {form}"),
            Self::TooMuch(word) => write!(f, "'{word}' is too much"),
            Self::Bad { expected, found } => write!(f, "'{found}' is not {expected}"),
        }
    }
}

/// Understands a line.
pub fn parse(line: &str) -> Result<Command<'_>, ParseError<'_>> {
    let line = line.trim();
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    if name.is_empty() {
        return Ok(Command::Nothing);
    }
    let form = HELP.iter().map(|(form, _)| *form).find(|form| form.split(' ').next() == Some(name));
    let form = form.ok_or(ParseError::Unknown(name))?;
    if name == "spawn" {
        return spawn(form, rest).map(Command::Spawn);
    }
    let mut words = Words { form, words: rest.split_ascii_whitespace() };
    let command = match name {
        "help" => Command::Help,
        "ps" => Command::Ps,
        "top" => Command::Top,
        "caps" => Command::Caps(number(words.next()?, PID)?),
        "weight" => Command::Weight(tid(words.next()?)?, weight(words.next()?)?),
        "affinity" => Command::Affinity(tid(words.next()?)?, cpus(words.next()?)?),
        "kill" => Command::Kill(number(words.next()?, PID)?),
        "why" => Command::Why(tid(words.next()?)?),
        "resources" => Command::Resources,
        "exit" => Command::Exit,
        other => return Err(ParseError::Unknown(other)),
    };
    words.end()?;
    Ok(command)
}

const PID: &str = "the number of a process";

struct Words<'l> {
    form: &'static str,
    words: core::str::SplitAsciiWhitespace<'l>,
}

impl<'l> Words<'l> {
    fn next(&mut self) -> Result<&'l str, ParseError<'l>> {
        self.words.next().ok_or(ParseError::Missing(self.form))
    }

    fn end(mut self) -> Result<(), ParseError<'l>> {
        self.words.next().map_or(Ok(()), |word| Err(ParseError::TooMuch(word)))
    }
}

fn spawn<'l>(form: &'static str, rest: &'l str) -> Result<Spawn<'l>, ParseError<'l>> {
    let separated = rest.split_once(" -- ").or_else(|| rest.strip_suffix(" --").map(|options| (options, "")));
    let (options, arguments) = separated.unwrap_or((rest, ""));
    let mut words = Words { form, words: options.split_ascii_whitespace() };
    let mut spawn = Spawn { name: words.next()?, arguments: arguments.trim(), ..Default::default() };
    for word in words.words {
        match word.split_once('=') {
            Some(("weight", value)) => spawn.weight = Some(weight(value)?),
            Some(("class", value)) => spawn.class = Some(class(value)?),
            Some(("cpus", value)) => spawn.cpus = Some(cpus(value)?),
            _ => return Err(ParseError::Bad { expected: "weight=N, class=C, cpus=LIST or --", found: word }),
        }
    }
    Ok(spawn)
}

fn number<'l, T: FromStr>(word: &'l str, expected: &'static str) -> Result<T, ParseError<'l>> {
    word.parse().map_err(|_| ParseError::Bad { expected, found: word })
}

fn tid(word: &str) -> Result<Tid, ParseError<'_>> {
    let bad = ParseError::Bad { expected: "a thread, such as 3 or 3:2", found: word };
    let (slot, generation) = match word.split_once(':') {
        Some((slot, generation)) => (slot, Some(generation.parse().map_err(|_| bad.clone())?)),
        None => (word, None),
    };
    Ok(Tid { slot: slot.parse().map_err(|_| bad)?, generation })
}

fn weight(word: &str) -> Result<u16, ParseError<'_>> {
    let bad = ParseError::Bad { expected: "a weight of 1 to 10000", found: word };
    let weight = word.parse().ok().filter(|weight| (MIN_WEIGHT..=MAX_WEIGHT).contains(weight));
    weight.ok_or(bad)
}

fn class(word: &str) -> Result<LatencyClass, ParseError<'_>> {
    let class = LatencyClass::ALL.into_iter().find(|class| class.name() == word);
    class.ok_or(ParseError::Bad { expected: "interactive, normal, batch or ipcServer", found: word })
}

/// A list of CPUs and ranges of them.
fn cpus(word: &str) -> Result<CpuWords, ParseError<'_>> {
    let bad = || ParseError::Bad { expected: "a list of CPUs such as 0,2-3", found: word };
    let cpu = |text: &str| text.parse().ok().filter(|cpu: &usize| *cpu < CPU_WORDS * 64).ok_or_else(bad);
    let mut words = [0; CPU_WORDS];
    for part in word.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (cpu(low)?, cpu(high)?);
        if low > high {
            return Err(bad());
        }
        for cpu in low..=high {
            words[cpu / 64] |= 1 << (cpu % 64);
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn words(first: u64) -> CpuWords {
        let mut words = [0; CPU_WORDS];
        words[0] = first;
        words
    }

    #[test]
    fn every_command_is_understood() {
        let tid = Tid { slot: 3, generation: Some(2) };
        for (line, command) in [
            ("", Command::Nothing),
            ("   ", Command::Nothing),
            ("help", Command::Help),
            (" ps ", Command::Ps),
            ("top", Command::Top),
            ("caps 7", Command::Caps(7)),
            ("weight 3:2  100", Command::Weight(tid, 100)),
            ("affinity 3 0,2-3", Command::Affinity(Tid { slot: 3, generation: None }, words(0b1101))),
            ("kill 12", Command::Kill(12)),
            ("why 3:2", Command::Why(tid)),
            ("resources", Command::Resources),
            ("exit", Command::Exit),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
        for (form, _) in HELP {
            let name = form.split(' ').next().unwrap_or_default();
            assert!(!matches!(parse(name), Err(ParseError::Unknown(_))), "{name} is in the list and unknown");
        }
    }

    #[test]
    fn a_program_is_started_with_its_options_and_arguments() {
        let plain = Spawn { name: "hog", ..Default::default() };
        assert_eq!(parse("spawn hog"), Ok(Command::Spawn(plain.clone())));
        assert_eq!(parse("spawn hog --"), Ok(Command::Spawn(plain)));
        let all = Spawn {
            name: "sleeper",
            weight: Some(10),
            class: Some(LatencyClass::Interactive),
            cpus: Some(words(2)),
            arguments: "5000 0 -- weight=1",
        };
        let line = "spawn sleeper weight=10 class=interactive cpus=1 -- 5000 0 -- weight=1";
        assert_eq!(parse(line), Ok(Command::Spawn(all)));
    }

    #[test]
    fn an_error_names_the_word_that_is_wrong() {
        for (line, text) in [
            ("dance", "there is no command 'dance'; 'help' lists them"),
            ("kill", "it is written: kill PID"),
            ("kill me", "'me' is not the number of a process"),
            ("kill 1 2", "'2' is too much"),
            ("weight 3 0", "'0' is not a weight of 1 to 10000"),
            ("weight 3 10001", "'10001' is not a weight of 1 to 10000"),
            ("why 3:x", "'3:x' is not a thread, such as 3 or 3:2"),
            ("affinity 3 2-1", "'2-1' is not a list of CPUs such as 0,2-3"),
            ("affinity 3 512", "'512' is not a list of CPUs such as 0,2-3"),
            ("spawn", "it is written: spawn NAME [weight=N] [class=C] [cpus=LIST] [-- ARGUMENTS]"),
            ("spawn hog 5", "'5' is not weight=N, class=C, cpus=LIST or --"),
            ("spawn hog class=fast", "'fast' is not interactive, normal, batch or ipcServer"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), text, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_an_error_of_one_line(line in "\\PC*") {
            if let Err(error) = parse(&line) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn words_in_any_order_do_not_panic(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "spawn", "hog", "--", "weight=", "weight=7", "cpus=0-", "cpus=1,1", "why", "3:", ":", "-", "0-511",
                    "affinity", "18446744073709551616", "kill", "", "class==",
                ]),
                0..8,
            )
        ) {
            let _ = parse(&words.join(" "));
        }
    }
}
