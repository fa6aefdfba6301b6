//! The last words: where, which CPU, which thread, registers, backtrace; then the other CPUs are stopped and QEMU ends.
//!
//! Nothing here takes a lock or allocates: the kernel may have died anywhere. The serial port is written directly.

use crate::{backtrace, halt, percpu, power};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::Ordering;
use spin::Once;
use tessera_hal::ExitStatus;
use x86_64::instructions::port::Port;

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// A port that never becomes ready must not keep the machine from stopping.
const PATIENCE: u32 = 100_000;

/// Prints the calling CPU and the thread that it runs.
pub type ThreadHook = fn(&mut dyn Write) -> fmt::Result;

static THREAD_HOOK: Once<ThreadHook> = Once::new();
static STOP_OTHERS: Once<fn()> = Once::new();

/// Sets how the current thread is printed.
pub fn set_thread_hook(hook: ThreadHook) {
    THREAD_HOOK.call_once(|| hook);
}

/// Sets how the other CPUs are stopped.
pub(crate) fn set_stop_others(stop: fn()) {
    STOP_OTHERS.call_once(|| stop);
}

/// The serial port without a lock or a driver: for errors before the console is there, and after it may be locked.
#[derive(Debug)]
pub struct RawSerial;

impl RawSerial {
    fn put(byte: u8) {
        for _ in 0..PATIENCE {
            // SAFETY: reading COM1's line status has no effect on memory.
            let status = unsafe { Port::<u8>::new(LINE_STATUS).read() };
            if status & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        // SAFETY: writing COM1's data register has no effect on memory.
        unsafe { Port::<u8>::new(COM1).write(byte) };
    }
}

impl Write for RawSerial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                Self::put(b'\r');
            }
            Self::put(byte);
        }
        Ok(())
    }
}

/// Begins a new line on the console.
pub(crate) fn start_line() {
    let _ = RawSerial.write_str("\n");
}

/// Ends the machine with one line: for errors that need no backtrace (bad boot input).
pub fn fail(error: &dyn fmt::Display) -> ! {
    let _ = writeln!(RawSerial, "tessera: error: {error}");
    power::power_off(ExitStatus::Failure)
}

/// What the kernel binary's panic handler calls.
pub fn report(info: &PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    if !halt::claim() {
        // Another CPU is reporting.
        halt::forever();
    }
    if percpu::this().reporting.swap(true, Ordering::Relaxed) {
        let _ = writeln!(RawSerial, "the report itself failed: {}", info.message());
        power::power_off(ExitStatus::Failure);
    }
    if let Some(stop) = STOP_OTHERS.get() {
        stop();
    }
    let _ = describe(info);
    power::power_off(ExitStatus::Failure)
}

fn describe(info: &PanicInfo<'_>) -> fmt::Result {
    let out = &mut RawSerial;
    let area = percpu::this();
    writeln!(out, "\npanic: {}", info.message())?;
    if let Some(place) = info.location() {
        writeln!(out, "  at {place}")?;
    }
    write!(out, "  ")?;
    match THREAD_HOOK.get() {
        Some(hook) => hook(out)?,
        None => write!(out, "CPU {}, no thread yet", area.cpu())?,
    }
    writeln!(out)?;
    // SAFETY: the fault handler stores a pointer to registers on a stack of this CPU that it never leaves.
    match unsafe { area.fault.load(Ordering::Relaxed).as_ref() } {
        Some(registers) => {
            registers.dump(out)?;
            backtrace::print(out, Some(registers.rip), registers.rbp)
        }
        None => {
            describe_here(out)?;
            backtrace::print(out, None, backtrace::frame_pointer())
        }
    }
}

/// The registers that still mean something when the kernel itself has called: the rest hold the panic's own values.
fn describe_here(out: &mut RawSerial) -> fmt::Result {
    let flags = x86_64::registers::rflags::read_raw();
    let page_fault_address = x86_64::registers::control::Cr2::read_raw();
    let (root, root_flags) = x86_64::registers::control::Cr3::read_raw();
    let frame = backtrace::frame_pointer();
    writeln!(out, "  rbp {frame:016x}  cr2 {page_fault_address:016x}  flags {flags:x}")?;
    writeln!(out, "  cr3 {:016x}", root.start_address().as_u64() | u64::from(root_flags))
}
