//! The terminal: bytes typed, and text with line ends as a terminal wants them.

use alloc::{collections::VecDeque, string::String};
use core::fmt::{self, Write};
use tessera_rt::{CallError, Client, client::Terminal};

/// Bytes of one write: less than a message.
const WRITE_BYTES: usize = 1024;
/// Bytes of one read, and room for the message around them.
const READ_BYTES: u32 = 64;
const READ_BUFFER_BYTES: usize = 512;

/// The operator's terminal.
pub struct Screen {
    terminal: Terminal,
    typed: VecDeque<u8>,
}

impl Screen {
    /// The terminal that the program was granted.
    pub fn open() -> Result<Self, CallError> {
        Ok(Self { terminal: Terminal::granted()?, typed: VecDeque::new() })
    }

    /// The terminal itself.
    pub const fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Shows text; a newline begins a new line at its left end.
    pub fn show(&self, text: &str) -> Result<(), CallError> {
        let text = text.replace('\n', "\r\n");
        text.as_bytes().chunks(WRITE_BYTES).try_for_each(|part| self.terminal.write(part))
    }

    /// Shows a line.
    pub fn line(&self, text: fmt::Arguments<'_>) -> Result<(), CallError> {
        let mut line = String::new();
        // A string takes everything; a failing `Display` cuts the line.
        let _ = line.write_fmt(text);
        line.push('\n');
        self.show(&line)
    }

    /// The next byte that was typed; sleeps until there is one.
    pub fn next_byte(&mut self) -> Result<u8, CallError> {
        loop {
            if let Some(byte) = self.typed.pop_front() {
                return Ok(byte);
            }
            let mut buffer = [0; READ_BUFFER_BYTES];
            let read = self.terminal.read(READ_BYTES, &mut buffer)?;
            self.typed.extend(read.bytes);
        }
    }

    /// Whether something was typed ahead; takes it.
    pub fn take_typed(&mut self) -> bool {
        let any = !self.typed.is_empty();
        self.typed.clear();
        any
    }
}
