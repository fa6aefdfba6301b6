//! The last words: where, which CPU, which thread, registers, backtrace; then the other CPUs are stopped and the run ends.
//!
//! Nothing here takes a lock or allocates: the kernel may have died anywhere. The serial port is written directly.

use crate::{backtrace, halt, percpu, power};
use aarch64_cpu::registers::{Readable, TTBR0_EL1, TTBR1_EL1};
use core::arch::asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};
use spin::Once;
use tessera_hal::ExitStatus;

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const CONTROL: usize = 0x30;
const TRANSMIT_FULL: u32 = 1 << 5;
/// The device and its transmitter are on.
const ENABLED: u32 = 1 | 1 << 8;
/// A port that never becomes ready must not keep the machine from stopping.
const PATIENCE: u32 = 100_000;

/// Prints the calling CPU and the thread that it runs.
pub type ThreadHook = fn(&mut dyn Write) -> fmt::Result;

static THREAD_HOOK: Once<ThreadHook> = Once::new();
static STOP_OTHERS: Once<fn()> = Once::new();
/// Where the serial port's registers are mapped; zero is nowhere.
static SERIAL: AtomicUsize = AtomicUsize::new(0);

/// Sets how the current thread is printed.
pub fn set_thread_hook(hook: ThreadHook) {
    THREAD_HOOK.call_once(|| hook);
}

/// Sets how the other CPUs are stopped.
pub(crate) fn set_stop_others(stop: fn()) {
    STOP_OTHERS.call_once(|| stop);
}

/// Says where a PL011's registers are mapped from now on, and turns it on if nobody has.
pub(crate) fn set_serial(registers: *mut u8) {
    let control = registers.wrapping_add(CONTROL).cast::<u32>();
    // SAFETY: the registers are mapped, and are a PL011's; reading this one has no effect.
    let old = unsafe { control.read_volatile() };
    if old & ENABLED != ENABLED {
        // SAFETY: as above; the device may send from now on.
        unsafe { control.write_volatile(old | ENABLED) };
    }
    SERIAL.store(registers as usize, Ordering::Relaxed);
}

/// The serial port without a lock or a driver: for errors before the console is there, and after it may be locked.
#[derive(Debug)]
pub struct RawSerial;

impl RawSerial {
    fn put(registers: usize, byte: u8) {
        for _ in 0..PATIENCE {
            // SAFETY: the registers are mapped; reading the flags has no effect.
            let flags = unsafe { ((registers + FLAGS) as *const u32).read_volatile() };
            if flags & TRANSMIT_FULL == 0 {
                break;
            }
        }
        // SAFETY: the registers are mapped; writing the data register has no effect on memory.
        unsafe { ((registers + DATA) as *mut u32).write_volatile(byte.into()) };
    }
}

impl Write for RawSerial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let registers = SERIAL.load(Ordering::Relaxed);
        for byte in text.bytes().filter(|_| registers != 0) {
            if byte == b'\n' {
                Self::put(registers, b'\r');
            }
            Self::put(registers, byte);
        }
        Ok(())
    }
}

/// Ends the machine with one line: for errors that need no backtrace (bad boot input).
pub fn fail(error: &dyn fmt::Display) -> ! {
    percpu::this().reporting.store(true, Ordering::Relaxed);
    let _ = writeln!(RawSerial, "tessera: error: {error}");
    power::power_off(ExitStatus::Failure)
}

/// What the kernel binary's panic handler calls.
pub fn report(info: &PanicInfo<'_>) -> ! {
    // SAFETY: nothing is let in any more.
    unsafe { asm!("msr daifset, #2", options(nostack, nomem)) };
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
            write!(out, "{registers}")?;
            backtrace::print(out, Some(registers.program_counter), registers.general[29])
        }
        None => {
            describe_here(out)?;
            backtrace::print(out, None, backtrace::frame_pointer())
        }
    }
}

/// The registers that still mean something when the kernel itself has called: the rest hold the panic's own values.
fn describe_here(out: &mut RawSerial) -> fmt::Result {
    let stack: u64;
    // SAFETY: reading a register has no effect.
    unsafe { asm!("mov {}, sp", out(reg) stack, options(nomem, nostack)) };
    let frame = backtrace::frame_pointer();
    writeln!(out, "  fp  {frame:016x}  sp  {stack:016x}")?;
    writeln!(out, "  ttbr0 {:016x}  ttbr1 {:016x}", TTBR0_EL1.get(), TTBR1_EL1.get())
}
