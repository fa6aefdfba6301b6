//! A run whose serial line is a person's terminal. QEMU itself makes the terminal raw and restores it; records, which are
//! for programs, are left out of what is shown.

use std::io::{self, Read, Write};
use std::process::Stdio;

use super::launch::{Launch, Serial};
use super::session::{self, Ending, RunError};

/// What a record begins with, also behind a prompt.
const RECORD: &[u8] = b"{\"tessera\":";

/// Boots with the serial line on this terminal, and waits for the end. ^A X ends the emulator.
pub fn operate(launch: &Launch) -> Result<Ending, RunError> {
    let emulator = launch.machine.emulator();
    let launch = Launch { serial: Serial::Terminal, ..launch.clone() };
    let mut command = session::command(&launch);
    command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(|source| RunError::Start { emulator, source })?;
    if let Some(mut output) = child.stdout.take() {
        // A terminal that is gone ends the person's part, not the machine's.
        let _ = show(&mut output, &mut io::stdout());
    }
    let status = child.wait().map_err(|source| RunError::Lost { emulator, source })?;
    Ok(session::judge(launch.machine, status))
}

fn show(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let (mut buffer, mut filter) = ([0; 4096], Filter::default());
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&filter.pass(&buffer[..count]))?;
        to.flush()?;
    }
}

/// Leaves records out, each up to the end of its line.
#[derive(Debug, Default)]
struct Filter {
    /// Bytes that may be the beginning of a record.
    held: Vec<u8>,
    in_record: bool,
}

impl Filter {
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        for &byte in bytes {
            if self.in_record {
                self.in_record = byte != b'\n';
                continue;
            }
            self.held.push(byte);
            if self.held == RECORD {
                self.held.clear();
                self.in_record = true;
            } else if !RECORD.starts_with(&self.held) {
                // The byte that does not fit may begin a record itself.
                let again = self.held.len() > 1 && byte == RECORD[0];
                self.held.truncate(self.held.len() - usize::from(again));
                shown.append(&mut self.held);
                self.held.extend(again.then_some(byte));
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(parts: &[&str]) -> String {
        let mut filter = Filter::default();
        parts.iter().map(|part| String::from_utf8(filter.pass(part.as_bytes())).unwrap()).collect()
    }

    #[test]
    fn records_are_left_out_wherever_they_begin_and_however_they_are_cut() {
        let text = "one\r\n{\"tessera\":\"exit\"}\r\n> {\"tessera\":1}\ntwo {x} {{\"tessera\":2}\nthree";
        let expected = "one\r\n> two {x} {three";
        assert_eq!(shown(&[text]), expected);
        let letters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(shown(&letters.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn a_prompt_is_shown_at_once() {
        assert_eq!(shown(&["tessera> "]), "tessera> ");
    }
}
