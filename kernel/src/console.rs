//! The console: whole lines out, a few bytes in.
//!
//! Every line is complete before the device is touched and is written under one lock, so lines of different CPUs and
//! programs never mix. Programs' lines carry the program's name, so that none can pass for a record of the kernel.
//! Input is collected by the interrupt hook, which runs on the one CPU that the line is routed to. Lock level: leaf,
//! never taken by the hook.

use crate::line::{LINE_BYTES, Line};
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
};
use hal::Machine;
use spin::Mutex;

const INPUT_BYTES: usize = 256;

/// Bytes received and not yet read: one producer (the interrupt hook of the CPU that the line is routed to), one
/// consumer. Bytes that find it full are dropped and counted.
pub struct InputBuffer {
    bytes: [AtomicU8; INPUT_BYTES],
    written: AtomicUsize,
    read: AtomicUsize,
    dropped: AtomicUsize,
}

impl Default for InputBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl InputBuffer {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self {
            bytes: [const { AtomicU8::new(0) }; INPUT_BYTES],
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
        }
    }

    /// Adds a byte. Only the producer.
    pub fn push(&self, byte: u8) {
        let written = self.written.load(Ordering::Relaxed);
        if written.wrapping_sub(self.read.load(Ordering::Acquire)) >= INPUT_BYTES {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.bytes[written % INPUT_BYTES].store(byte, Ordering::Relaxed);
        self.written.store(written.wrapping_add(1), Ordering::Release);
    }

    /// Takes the oldest byte. Only the consumer.
    pub fn pop(&self) -> Option<u8> {
        let read = self.read.load(Ordering::Relaxed);
        if read == self.written.load(Ordering::Acquire) {
            return None;
        }
        let byte = self.bytes[read % INPUT_BYTES].load(Ordering::Relaxed);
        self.read.store(read.wrapping_add(1), Ordering::Release);
        Some(byte)
    }

    /// How many bytes were lost.
    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The console of a machine.
pub struct Console<M: Machine> {
    machine: &'static M,
    output: Mutex<()>,
    /// What was typed.
    pub input: InputBuffer,
}

impl<M: Machine> Console<M> {
    /// The console of `machine`.
    pub const fn new(machine: &'static M) -> Self {
        Self { machine, output: Mutex::new(()), input: InputBuffer::new() }
    }

    /// Writes whole lines.
    pub fn write_lines(&self, bytes: &[u8]) {
        let _whole_lines = self.output.lock();
        self.machine.console_write(bytes);
    }

    /// Formats one line and writes it.
    pub fn print(&self, text: fmt::Arguments<'_>) {
        let mut line = Line::new();
        // A line never fails to format; what does not fit is cut.
        let _ = line.write_fmt(text);
        line.push(b'\n');
        self.write_lines(line.as_bytes());
    }
}

/// A program's output between newlines.
pub struct ProgramOutput {
    line: Line,
}

impl Default for ProgramOutput {
    fn default() -> Self {
        Self::new()
    }
}

impl ProgramOutput {
    /// Nothing pending.
    pub const fn new() -> Self {
        Self { line: Line::new() }
    }

    /// Takes bytes of program `name`, giving each line that they complete to `emit`. Control characters become dots;
    /// a line longer than the buffer is cut into several.
    pub fn accept(&mut self, name: &dyn fmt::Display, bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        for &byte in bytes {
            if byte == b'\n' {
                self.start(name);
                self.finish(&mut emit);
                continue;
            }
            self.start(name);
            let visible = if byte == b'\t' || byte >= b' ' && byte != 0x7f { byte } else { b'.' };
            if !self.line.push(visible) {
                self.finish(&mut emit);
                self.start(name);
                self.line.push(visible);
            }
        }
    }

    /// Gives a line that was never finished to `emit`.
    pub fn flush(&mut self, mut emit: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.finish(&mut emit);
        }
    }

    fn start(&mut self, name: &dyn fmt::Display) {
        if self.line.is_empty() {
            // Names are bounded by the manifest, so the prefix fits.
            let _ = write!(self.line, "{name}: ");
        }
    }

    fn finish(&mut self, emit: &mut impl FnMut(&[u8])) {
        self.line.push(b'\n');
        emit(self.line.as_bytes());
        self.line.clear();
    }
}

const _: () = assert!(LINE_BYTES >= 256);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec::Vec};

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut output = ProgramOutput::new();
        let mut lines = Vec::new();
        for chunk in chunks {
            output.accept(&"hog.0", chunk, |line| lines.push(String::from_utf8(line.to_vec()).unwrap()));
        }
        output.flush(|line| lines.push(String::from_utf8(line.to_vec()).unwrap()));
        lines
    }

    #[test]
    fn a_program_can_neither_break_a_line_nor_forge_a_record() {
        assert_eq!(lines(&[b"one\ntw", b"o\n", b"tail"]), ["hog.0: one\n", "hog.0: two\n", "hog.0: tail\n"]);
        assert_eq!(lines(&[b"{\"tessera\":\"end\"}\n\n"]), ["hog.0: {\"tessera\":\"end\"}\n", "hog.0: \n"]);
        assert_eq!(lines(&[b"a\x1b[2J\r\x00b\n"]), ["hog.0: a.[2J..b\n"]);
        let long = [b'x'; 2 * LINE_BYTES];
        assert!(lines(&[&long]).iter().all(|line| line.starts_with("hog.0: x") && line.len() <= LINE_BYTES));
    }

    #[test]
    fn input_comes_out_in_order_and_a_full_buffer_drops_the_newest() {
        let input = InputBuffer::new();
        (0..300_u32).for_each(|byte| input.push(byte as u8));
        assert_eq!(input.dropped(), 300 - INPUT_BYTES);
        assert_eq!(input.pop(), Some(0));
        input.push(7);
        assert_eq!(core::iter::from_fn(|| input.pop()).last(), Some(7));
    }
}
