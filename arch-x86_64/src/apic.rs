//! The local APIC of each CPU, in xAPIC or x2APIC mode behind one type (Intel SDM volume 3, chapter 11).
//!
//! [`LocalApic`] holds the mode and the address of the registers, both the same for all CPUs; each method acts on the
//! APIC of the CPU that calls it. `x2apic`'s own `LocalApic` is not used: it can be neither shared nor sent, starts
//! its timer in periodic mode, leaves LINT0 open, and takes destinations for one mode only.
//!
//! Invariants: interrupts are masked between the two halves of an xAPIC command; an x2APIC command is preceded by a
//! fence, because `wrmsr` to these registers orders nothing.

use crate::madt::ApicId;
use crate::topology::{Cpuid, ThisCpu};
use crate::vectors;
use core::{arch::asm, fmt, hint, ptr};
use x86_64::instructions::interrupts::without_interrupts;
use x86_64::registers::model_specific::Msr;

/// How the APIC is addressed, and how wide its ids are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApicMode {
    /// Registers in memory, 8-bit ids.
    Xapic,
    /// Registers as MSRs, 32-bit ids.
    X2apic,
}

impl fmt::Display for ApicMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xapic => "xAPIC",
            Self::X2apic => "x2APIC",
        })
    }
}

/// The choice of mode that cannot be met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApicModeError {
    /// x2APIC was asked for and the CPU has none.
    NoX2apic,
    /// xAPIC was asked for, or is all there is, and this CPU's id does not fit in its 8 bits.
    IdTooWide(ApicId),
}

impl fmt::Display for ApicModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoX2apic => write!(f, "apic=x2apic is impossible: this CPU does not offer x2APIC"),
            Self::IdTooWide(id) => {
                write!(f, "xAPIC mode is impossible: a CPU has APIC id {id}, and xAPIC reaches ids up to 0xfe")
            }
        }
    }
}

impl core::error::Error for ApicModeError {}

/// The largest id that xAPIC mode can address; the next is the broadcast.
pub const XAPIC_LAST_ID: u32 = 0xfe;

/// Chooses the mode: what was asked for, else x2APIC where the CPU offers it.
pub fn choose_mode(asked: Option<ApicMode>, offered: bool, cpus: &[ApicId]) -> Result<ApicMode, ApicModeError> {
    match (asked, offered) {
        (Some(ApicMode::X2apic), false) => Err(ApicModeError::NoX2apic),
        (Some(ApicMode::X2apic) | None, true) => Ok(ApicMode::X2apic),
        (Some(ApicMode::Xapic), _) | (None, false) => match cpus.iter().find(|id| id.0 > XAPIC_LAST_ID) {
            Some(&id) => Err(ApicModeError::IdTooWide(id)),
            None => Ok(ApicMode::Xapic),
        },
    }
}

/// Whether this CPU offers x2APIC.
pub fn x2apic_offered() -> bool {
    const X2APIC: u32 = 1 << 21;
    ThisCpu.leaf(1, 0).c & X2APIC != 0
}

const APIC_BASE_MSR: u32 = 0x1b;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;

/// The values to write to IA32_APIC_BASE, in order, to come from what it holds to `mode`. There is no direct way
/// from x2APIC to xAPIC, nor from disabled to x2APIC (SDM figure 11-27).
fn base_writes(base: u64, mode: ApicMode) -> impl Iterator<Item = u64> {
    let enabled = base & BASE_ENABLE != 0;
    let extended = base & BASE_X2APIC != 0;
    let off = base & !(BASE_ENABLE | BASE_X2APIC);
    let plain = off | BASE_ENABLE;
    let writes = match (mode, enabled, extended) {
        (ApicMode::Xapic, true, false) | (ApicMode::X2apic, true, true) => [None, None],
        (ApicMode::Xapic, true, true) => [Some(off), Some(plain)],
        (ApicMode::Xapic, false, _) => [Some(plain), None],
        (ApicMode::X2apic, true, false) => [Some(plain | BASE_X2APIC), None],
        (ApicMode::X2apic, false, _) => [Some(plain), Some(plain | BASE_X2APIC)],
    };
    writes.into_iter().flatten()
}

/// What a command asks of its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Take the interrupt with this vector.
    Fixed(u8),
    /// Take a non-maskable interrupt.
    NonMaskable,
    /// Reset and wait for `StartUp`.
    Init,
    /// Begin in real mode at this page of the first mebibyte.
    StartUp(u8),
}

const ICR_ASSERT: u64 = 1 << 14;
const ICR_PENDING: u32 = 1 << 12;

/// The interrupt command register's value for one destination.
fn command(mode: ApicMode, destination: ApicId, command: Command) -> u64 {
    let low = match command {
        Command::Fixed(vector) => u64::from(vector),
        Command::NonMaskable => 0b100 << 8,
        Command::Init => 0b101 << 8,
        Command::StartUp(page) => 0b110 << 8 | u64::from(page),
    };
    let destination = match mode {
        ApicMode::Xapic => u64::from(destination.0) << 56,
        ApicMode::X2apic => u64::from(destination.0) << 32,
    };
    destination | ICR_ASSERT | low
}

/// Registers by their offset in xAPIC mode; the MSR is `0x800 + offset / 16`.
mod register {
    pub const ID: u32 = 0x20;
    pub const VERSION: u32 = 0x30;
    pub const TASK_PRIORITY: u32 = 0x80;
    pub const END_OF_INTERRUPT: u32 = 0xb0;
    pub const SPURIOUS: u32 = 0xf0;
    pub const ERROR_STATUS: u32 = 0x280;
    pub const COMMAND: u32 = 0x300;
    pub const COMMAND_HIGH: u32 = 0x310;
    pub const LVT_TIMER: u32 = 0x320;
    pub const LVT_THERMAL: u32 = 0x330;
    pub const LVT_PERFORMANCE: u32 = 0x340;
    pub const LVT_LINT0: u32 = 0x350;
    pub const LVT_LINT1: u32 = 0x360;
    pub const LVT_ERROR: u32 = 0x370;
    pub const TIMER_INITIAL: u32 = 0x380;
    pub const TIMER_CURRENT: u32 = 0x390;
    pub const TIMER_DIVIDE: u32 = 0x3e0;
}

const LVT_MASKED: u32 = 1 << 16;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const DIVIDE_BY_ONE: u32 = 0b1011;
const DIVIDE_BY_SIXTEEN: u32 = 0b0011;

/// How the APIC's timer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerMode {
    /// Counts down once and interrupts at zero.
    OneShot,
    /// Interrupts when the TSC reaches IA32_TSC_DEADLINE.
    TscDeadline,
}

/// The local APIC of whichever CPU uses it.
#[derive(Clone, Copy, Debug)]
pub struct LocalApic {
    mode: ApicMode,
    /// Where the registers are in xAPIC mode; unused in x2APIC mode.
    registers: usize,
}

impl LocalApic {
    /// The APICs in `mode`.
    ///
    /// # Safety
    /// In xAPIC mode `registers` must be the page of APIC registers, mapped uncached on every CPU for good.
    pub unsafe fn new(mode: ApicMode, registers: *mut u8) -> Self {
        Self { mode, registers: registers.expose_provenance() }
    }

    /// The mode.
    pub const fn mode(&self) -> ApicMode {
        self.mode
    }

    /// Brings this CPU's APIC into the mode, with everything masked that nobody asked for, and enables it.
    pub fn enable_here(&self) {
        let mut base = Msr::new(APIC_BASE_MSR);
        // SAFETY: every CPU in long mode has this register.
        let now = unsafe { base.read() };
        for value in base_writes(now, self.mode) {
            // SAFETY: only legal transitions are written, and the address is kept.
            unsafe { base.write(value) };
        }
        self.mask_local_sources();
        self.write(register::TASK_PRIORITY, 0);
        self.write(register::LVT_ERROR, u32::from(vectors::ERROR));
        self.write(register::SPURIOUS, u32::from(vectors::SPURIOUS) | SOFTWARE_ENABLE);
        self.take_errors();
    }

    /// The id of this CPU's APIC.
    pub fn id(&self) -> ApicId {
        let raw = self.read(register::ID);
        match self.mode {
            ApicMode::Xapic => ApicId(raw >> 24),
            ApicMode::X2apic => ApicId(raw),
        }
    }

    /// Says that the interrupt in service is done.
    pub fn end_of_interrupt(&self) {
        self.write(register::END_OF_INTERRUPT, 0);
    }

    /// The errors that were recorded since the last call, as the error status register has them.
    pub fn take_errors(&self) -> u32 {
        self.write(register::ERROR_STATUS, 0);
        self.read(register::ERROR_STATUS)
    }

    /// Sends `what` to one CPU. Every earlier store of this CPU is visible there first.
    pub fn send(&self, destination: ApicId, what: Command) {
        let value = command(self.mode, destination, what);
        match self.mode {
            ApicMode::X2apic => self.send_x2apic(value),
            // An interrupt between the halves could send a command of its own to our destination.
            ApicMode::Xapic => without_interrupts(|| self.send_xapic(value)),
        }
    }

    /// Sets the vector and mode of the timer, and leaves it stopped.
    pub fn set_up_timer(&self, mode: TimerMode) {
        let bits = match mode {
            TimerMode::OneShot => 0b00 << 17,
            TimerMode::TscDeadline => 0b10 << 17,
        };
        self.write(register::TIMER_DIVIDE, DIVIDE_BY_ONE);
        self.write(register::LVT_TIMER, bits | u32::from(vectors::TIMER));
        // In xAPIC mode a store must not be overtaken by the first `wrmsr` to IA32_TSC_DEADLINE (SDM 11.5.4.1).
        fence();
        self.set_timer_count(0);
    }

    /// Starts the one-shot timer; zero stops it.
    pub fn set_timer_count(&self, count: u32) {
        self.write(register::TIMER_INITIAL, count);
    }

    /// Lets the timer count down from the top without an interrupt, for calibration. So slowly that it does not reach
    /// its end while a host stops this CPU for some seconds.
    pub fn start_silent_count(&self) {
        self.write(register::LVT_TIMER, LVT_MASKED | u32::from(vectors::TIMER));
        self.write(register::TIMER_DIVIDE, DIVIDE_BY_SIXTEEN);
        self.set_timer_count(u32::MAX);
    }

    /// How far the silent count has come, in ticks of the undivided timer. Nothing, once it is over: what it was is then
    /// unknown.
    pub fn silent_count(&self) -> u64 {
        match self.read(register::TIMER_CURRENT) {
            0 => 0,
            left => u64::from(u32::MAX - left) * 16,
        }
    }

    /// Firmware leaves LINT0 open for the 8259, whose vectors look like exceptions.
    fn mask_local_sources(&self) {
        let last_entry = self.read(register::VERSION) >> 16 & 0xff;
        // A masked entry still needs a legal vector: a reset value of zero is reported as an error when written.
        let masked = LVT_MASKED | u32::from(vectors::SPURIOUS);
        self.write(register::LVT_TIMER, masked);
        self.write(register::LVT_LINT0, masked);
        self.write(register::LVT_LINT1, masked);
        if last_entry >= 4 {
            self.write(register::LVT_PERFORMANCE, masked);
        }
        if last_entry >= 5 {
            self.write(register::LVT_THERMAL, masked);
        }
    }

    fn send_x2apic(&self, value: u64) {
        fence();
        let mut register = Msr::new(msr_number(register::COMMAND));
        // SAFETY: in x2APIC mode this register exists, and `command` makes only legal values.
        unsafe { register.write(value) };
    }

    fn send_xapic(&self, value: u64) {
        self.wait_until_sent();
        self.write(register::COMMAND_HIGH, (value >> 32) as u32);
        self.write(register::COMMAND, value as u32);
        self.wait_until_sent();
    }

    /// The bit clears within microseconds on working hardware; a stuck one must not hang the kernel.
    fn wait_until_sent(&self) {
        for _ in 0..100_000 {
            if self.read(register::COMMAND) & ICR_PENDING == 0 {
                return;
            }
            hint::spin_loop();
        }
    }

    fn read(&self, offset: u32) -> u32 {
        match self.mode {
            // SAFETY: `new` was promised that the page is mapped, and all offsets are inside it.
            ApicMode::Xapic => unsafe { ptr::read_volatile(self.address(offset)) },
            // SAFETY: in x2APIC mode these registers exist.
            ApicMode::X2apic => unsafe { Msr::new(msr_number(offset)).read() as u32 },
        }
    }

    fn write(&self, offset: u32, value: u32) {
        match self.mode {
            // SAFETY: as for `read`; the module writes only values that the register takes.
            ApicMode::Xapic => unsafe { ptr::write_volatile(self.address(offset), value) },
            // SAFETY: in x2APIC mode these registers exist and take these values.
            ApicMode::X2apic => unsafe { Msr::new(msr_number(offset)).write(u64::from(value)) },
        }
    }

    fn address(&self, offset: u32) -> *mut u32 {
        ptr::with_exposed_provenance_mut(self.registers + offset as usize)
    }
}

const fn msr_number(offset: u32) -> u32 {
    0x800 + (offset >> 4)
}

/// Makes earlier stores visible before a later `wrmsr` that orders nothing by itself (SDM 11.12.3).
fn fence() {
    // SAFETY: fences touch no memory and no register.
    unsafe { asm!("mfence", "lfence", options(nostack, preserves_flags)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    #[test]
    fn x2apic_is_taken_when_offered_and_impossible_wishes_are_refused() {
        let low = [ApicId(0), ApicId(254)];
        let high = [ApicId(0), ApicId(255)];
        assert_eq!(choose_mode(None, true, &low), Ok(ApicMode::X2apic));
        assert_eq!(choose_mode(None, false, &low), Ok(ApicMode::Xapic));
        assert_eq!(choose_mode(Some(ApicMode::Xapic), true, &low), Ok(ApicMode::Xapic));
        assert_eq!(choose_mode(Some(ApicMode::X2apic), false, &low), Err(ApicModeError::NoX2apic));
        assert_eq!(choose_mode(Some(ApicMode::Xapic), true, &high), Err(ApicModeError::IdTooWide(ApicId(255))));
        assert_eq!(choose_mode(None, false, &high), Err(ApicModeError::IdTooWide(ApicId(255))));
        assert_eq!(choose_mode(None, true, &high), Ok(ApicMode::X2apic));
    }

    #[test]
    fn xapic_is_reached_from_x2apic_only_through_disabled() {
        let base = 0xfee0_0100;
        let writes = |bits, mode| base_writes(base | bits, mode).collect::<Vec<_>>();
        assert_eq!(writes(BASE_ENABLE | BASE_X2APIC, ApicMode::Xapic), [base, base | BASE_ENABLE]);
        assert_eq!(writes(BASE_ENABLE, ApicMode::X2apic), [base | BASE_ENABLE | BASE_X2APIC]);
        assert_eq!(writes(0, ApicMode::X2apic), [base | BASE_ENABLE, base | BASE_ENABLE | BASE_X2APIC]);
        assert_eq!(writes(0, ApicMode::Xapic), [base | BASE_ENABLE]);
        assert!(writes(BASE_ENABLE, ApicMode::Xapic).is_empty());
        assert!(writes(BASE_ENABLE | BASE_X2APIC, ApicMode::X2apic).is_empty());
    }

    #[test]
    fn commands_name_the_destination_as_the_mode_wants_it() {
        let kick = Command::Fixed(0xe0);
        assert_eq!(command(ApicMode::Xapic, ApicId(5), kick), 5 << 56 | 0x40e0);
        assert_eq!(command(ApicMode::X2apic, ApicId(0x123), kick), 0x123 << 32 | 0x40e0);
        assert_eq!(command(ApicMode::X2apic, ApicId(1), Command::Init), 1 << 32 | 0x4500);
        assert_eq!(command(ApicMode::X2apic, ApicId(1), Command::StartUp(8)), 1 << 32 | 0x4608);
        assert_eq!(command(ApicMode::Xapic, ApicId(1), Command::NonMaskable), 1 << 56 | 0x4400);
    }
}
