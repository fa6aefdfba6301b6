//! The console: whole lines out, a few bytes in.
//!
//! Every line is complete before it is taken, and bytes reach the device in the order in which they were taken, so lines
//! of different CPUs and programs never mix. Programs' lines carry the program's name, so that none can pass for a record
//! of the kernel.
//!
//! The device is slow and there may be hundreds of CPUs, so nobody waits for another's lines: they are left in a buffer.
//! Who finds the device free writes until its own are out; what others left meanwhile is written by the boot CPU in its
//! background steps. Only when the buffer is full does a CPU wait for the device.
//!
//! Input is collected by the interrupt hook, which runs on the one CPU that the line is routed to. Lock levels: the
//! device's, then the buffer's, which is a leaf; neither is taken by the hook.

use crate::line::{LINE_BYTES, Line};
use alloc::collections::VecDeque;
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
};
use hal::{CpuId, Machine, Requests};
use spin::{Mutex, MutexGuard};

const INPUT_BYTES: usize = 256;
/// Bytes that may wait for the device, for each CPU, and the least for all.
const WAITING_BYTES_PER_CPU: usize = 1024;
const LEAST_WAITING_BYTES: usize = 16 * 1024;
/// Bytes that go to the device at once.
const CHUNK_BYTES: usize = 256;

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
    device: Mutex<()>,
    waiting: Mutex<VecDeque<u8>>,
    /// Whether bytes wait; written under the buffer's lock, a hint without it.
    is_waiting: AtomicBool,
    /// What was typed.
    pub input: InputBuffer,
}

impl<M: Machine> Console<M> {
    /// The console of `machine`, which writes everything at once.
    pub const fn new(machine: &'static M) -> Self {
        Self {
            machine,
            device: Mutex::new(()),
            waiting: Mutex::new(VecDeque::new()),
            is_waiting: AtomicBool::new(false),
            input: InputBuffer::new(),
        }
    }

    /// Lets lines of so many CPUs wait for the device from now on. Without memory for that all goes on as before.
    pub fn let_lines_wait(&self, cpus: usize) {
        let bytes = LEAST_WAITING_BYTES.max(cpus * WAITING_BYTES_PER_CPU);
        let _ = self.waiting.lock().try_reserve_exact(bytes);
    }

    /// Takes whole lines, which are written before all that is taken later. Does not wait for the device unless too
    /// much waits for it already.
    pub fn write_lines(&self, bytes: &[u8]) {
        match self.leave(bytes) {
            Some(ahead) => {
                // Whoever has the device looks at the buffer after giving it back, and so sees these lines.
                let Some(device) = self.device.try_lock() else { return };
                self.write_waiting(&device, ahead);
                self.give_back(device);
            }
            None => {
                let device = self.device.lock();
                let ahead = self.waiting.lock().len();
                self.write_waiting(&device, ahead);
                self.machine.console_write(bytes);
                self.give_back(device);
            }
        }
    }

    /// Leaves the device, and asks the boot CPU to write what others left meanwhile.
    fn give_back(&self, device: MutexGuard<'_, ()>) {
        drop(device);
        if !self.waiting.lock().is_empty() {
            let _ = self.machine.kick(CpuId::BOOT, Requests::CLEANUP);
        }
    }

    /// Whether lines wait and nobody is writing: the boot CPU's background work.
    pub fn has_work(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed) && !self.device.is_locked()
    }

    /// Writes a little of what waits, if the device is free. Only the boot CPU, whose loop calls again while there is
    /// [work](Self::has_work).
    pub fn write_step(&self) {
        if let Some(device) = self.device.try_lock() {
            self.write_waiting(&device, CHUNK_BYTES);
        }
    }

    /// Writes what waits, as far as no lock is in the way: the caller is about to panic, and may hold any.
    pub fn write_before_panic(&self) {
        let Some(_device) = self.device.try_lock() else { return };
        let Some(waiting) = self.waiting.try_lock() else { return };
        let (first, second) = waiting.as_slices();
        self.machine.console_write(first);
        self.machine.console_write(second);
    }

    /// Leaves lines for whoever has the device next, and says how many bytes wait with them; `None` if they do not fit.
    fn leave(&self, bytes: &[u8]) -> Option<usize> {
        let mut waiting = self.waiting.lock();
        if waiting.capacity() - waiting.len() < bytes.len() {
            return None;
        }
        waiting.extend(bytes);
        self.is_waiting.store(!waiting.is_empty(), Ordering::Relaxed);
        Some(waiting.len())
    }

    /// Writes so many of the bytes that wait; at least these are there.
    fn write_waiting(&self, _device: &MutexGuard<'_, ()>, bytes: usize) {
        let mut left = bytes;
        let mut chunk = [0; CHUNK_BYTES];
        while left > 0 {
            let taken = {
                let mut waiting = self.waiting.lock();
                let count = left.min(CHUNK_BYTES).min(waiting.len());
                waiting.drain(..count).zip(&mut chunk).for_each(|(byte, place)| *place = byte);
                self.is_waiting.store(!waiting.is_empty(), Ordering::Relaxed);
                count
            };
            if taken == 0 {
                return;
            }
            self.machine.console_write(&chunk[..taken]);
            left -= taken;
        }
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
    use crate::test_machine::TestMachine;
    use alloc::{boxed::Box, format, string::String, vec, vec::Vec};
    use hal::SchedHal;

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

    /// Of a machine of its own, with room for lines to wait.
    fn console() -> Console<TestMachine> {
        let console = Console::new(TestMachine::get());
        console.let_lines_wait(1);
        console
    }

    #[test]
    fn lines_are_written_at_once_where_the_device_is_free_and_before_there_is_a_buffer() {
        let console = console();
        console.print(format_args!("one"));
        assert_eq!(console.machine.output(), "one\n");
        assert!(!console.has_work());
        let bare = Console::new(TestMachine::get());
        bare.print(format_args!("two"));
        assert_eq!(bare.machine.output(), "two\n");
    }

    #[test]
    fn nobody_waits_for_the_device_and_the_boot_cpu_writes_what_was_left() {
        let console = console();
        let device = console.device.lock();
        let line = "x".repeat(CHUNK_BYTES);
        console.print(format_args!("{line}"));
        console.print(format_args!("two"));
        assert_eq!(console.machine.output(), "");
        assert!(!console.has_work(), "somebody is writing");
        drop(device);
        assert!(console.has_work());
        console.write_step();
        assert_eq!(console.machine.output(), line);
        console.write_step();
        assert_eq!(console.machine.output(), format!("{line}\ntwo\n"));
        assert!(!console.has_work());
    }

    #[test]
    fn the_boot_cpu_is_asked_for_what_was_left_and_for_nothing_else() {
        let console = console();
        console.print(format_args!("one"));
        assert!(!console.machine.request_word(CpuId::BOOT).is_pending());
        let device = console.device.lock();
        console.print(format_args!("two"));
        console.give_back(device);
        assert!(console.machine.request_word(CpuId::BOOT).is_pending());
    }

    #[test]
    fn what_does_not_fit_is_written_after_what_waits() {
        let console = console();
        let room = console.waiting.lock().capacity();
        let device = console.device.lock();
        console.write_lines(&vec![b'x'; room - 1]);
        drop(device);
        console.write_lines(b"yz");
        assert!(console.machine.output().ends_with("xyz"));
        assert_eq!(console.machine.output().len(), room + 1);
        assert_eq!(console.waiting.lock().capacity(), room, "the buffer never grows");
    }

    #[test]
    fn a_panic_shows_what_waits_and_is_stopped_by_no_lock() {
        let console = console();
        let device = console.device.lock();
        console.print(format_args!("left"));
        console.write_before_panic();
        assert_eq!(console.machine.output(), "");
        drop(device);
        let waiting = console.waiting.lock();
        console.write_before_panic();
        assert_eq!(console.machine.output(), "");
        drop(waiting);
        console.write_before_panic();
        assert_eq!(console.machine.output(), "left\n");
    }

    #[test]
    fn lines_of_many_cpus_stay_whole_and_in_order() {
        const CPUS: usize = 4;
        const LINES: usize = if cfg!(miri) { 20 } else { 2000 };
        let console: &Console<TestMachine> = Box::leak(Box::new(console()));
        std::thread::scope(|scope| {
            for cpu in 0..CPUS {
                scope.spawn(move || (0..LINES).for_each(|line| console.print(format_args!("{cpu} {line} {line}"))));
            }
        });
        while console.has_work() {
            console.write_step();
        }
        let mut next = [0; CPUS];
        for line in console.machine.output().lines() {
            let numbers: Vec<usize> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let [cpu, first, second] = numbers[..] else { panic!("a torn line: {line}") };
            assert_eq!((first, second), (next[cpu], next[cpu]));
            next[cpu] += 1;
        }
        assert_eq!(next, [LINES; CPUS]);
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
