//! [`ArmMachine`]: both traits of the HAL on one CPU.

use crate::clock::{BadFrequency, Scale, count, frequency};
use crate::gic::{Gic, GicError};
use crate::paging::{Entry, direct};
use crate::power::Conduit;
use crate::serial::Serial;
use crate::trap::{Cause, decode};
use crate::user::Context;
use crate::{clockevent, fpu, gic, memory, percpu, power, vectors};
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, ID_AA64ISAR0_EL1, Readable, TTBR0_EL1, Writeable};
use core::arch::asm;
use core::{fmt, ops::Range};
use tessera_hal::machine::FlushScope;
use tessera_hal::{
    ArmError, Clockevent, CpuId, CpuSet, CpuTopology, ExitStatus, Frame, Instant, Interrupt, InterruptState, IrqLine,
    Machine, PAGE_SIZE, PhysicalAddress, RequestWord, Route, RouteError, SchedHal, SystemCall, Trap, VirtualAddress,
};

/// What the platform has discovered.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The machine's name.
    pub name: &'static str,
    /// The interrupt controller's distributor.
    pub distributor: PhysicalAddress,
    /// The redistributor region that holds this CPU's frame.
    pub redistributors: PhysicalAddress,
    /// The virtual timer's interrupt number.
    pub timer_interrupt: u32,
    /// The console's interrupt line.
    pub serial_line: Option<IrqLine>,
    /// How the firmware is called.
    pub conduit: Option<Conduit>,
    /// How many CPUs the machine has; this port runs the first.
    pub cpus_present: usize,
}

/// Why the machine cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// The counter's frequency makes no sense.
    Clock(BadFrequency),
    /// The interrupt controller cannot be used.
    InterruptController(GicError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(BadFrequency(frequency)) => {
                write!(f, "the generic timer says that it counts at {frequency} Hz")
            }
            Self::InterruptController(GicError::NotVersionThree) => {
                write!(f, "the interrupt controller is not a GICv3")
            }
            Self::InterruptController(GicError::NoRedistributor { affinity }) => {
                write!(f, "no GIC redistributor belongs to the CPU with affinity {affinity:#x}")
            }
            Self::InterruptController(GicError::BadTimerInterrupt(number)) => {
                write!(f, "the virtual timer's interrupt {number} is not a private one")
            }
        }
    }
}

impl core::error::Error for StartError {}

/// The machine.
pub struct ArmMachine {
    description: Description,
    scale: Scale,
    gic: Gic,
    serial: Serial,
    request_word: RequestWord,
}

impl ArmMachine {
    /// Sets up the CPU that executes this: per-CPU area, vectors, interrupt controller, timer.
    ///
    /// # Safety
    /// Once per boot, with interrupts masked, after [`memory::install`] has mapped the registers that the description
    /// names, which must be what it says they are and used by nobody else.
    pub unsafe fn start(description: Description, serial: Serial) -> Result<Self, StartError> {
        percpu::install_boot();
        vectors::install();
        clockevent::disarm();
        if let Some(conduit) = description.conduit {
            power::set_conduit(conduit);
        }
        let scale = Scale::new(frequency()).map_err(StartError::Clock)?;
        // SAFETY: the caller's promise.
        let gic = unsafe { Gic::new(description.distributor, description.redistributors, description.timer_interrupt) }
            .map_err(StartError::InterruptController)?;
        Ok(Self { description, scale, gic, serial, request_word: RequestWord::new() })
    }
}

impl SchedHal for ArmMachine {
    fn now(&self) -> Instant {
        self.scale.instant(count())
    }

    fn cpu_count(&self) -> usize {
        1
    }

    fn this_cpu(&self) -> CpuId {
        percpu::this_cpu()
    }

    fn topology(&self, _cpu: CpuId) -> CpuTopology {
        CpuTopology::default()
    }

    fn mask_interrupts(&self) -> InterruptState {
        let state: u64;
        // SAFETY: masking is what the caller asked for; memory accesses are not moved over it.
        unsafe { asm!("mrs {0}, daif", "msr daifset, #2", out(reg) state, options(nostack)) };
        if state & (1 << 7) != 0 { InterruptState::Masked } else { InterruptState::Unmasked }
    }

    fn restore_interrupts(&self, state: InterruptState) {
        if state == InterruptState::Unmasked {
            // SAFETY: the vectors are installed, and the state was unmasked when the caller masked it.
            unsafe { asm!("msr daifclr, #2", options(nostack)) };
        }
    }

    fn clockevent(&self) -> Clockevent {
        clockevent::descriptor(self.scale)
    }

    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        clockevent::arm(self.scale, deadline);
        Ok(())
    }

    fn disarm(&self) {
        clockevent::disarm();
    }

    fn request_word(&self, _cpu: CpuId) -> &RequestWord {
        &self.request_word
    }

    fn send_kick_interrupt(&self, _cpu: CpuId) {
        gic::kick_self();
    }

    fn route_irq(&self, line: IrqLine, route: Route) -> Result<Route, RouteError> {
        let state = self.mask_interrupts();
        let previous = self.gic.route(line, route);
        self.restore_interrupts(state);
        previous
    }

    fn idle(&self) {
        barrier::dsb(barrier::SY);
        // A masked interrupt that is pending ends the wait, so none is missed before it is let in.
        aarch64_cpu::asm::wfi();
        // SAFETY: the vectors are installed; interrupts are let in between the two instructions and masked again.
        unsafe { asm!("msr daifclr, #2", "isb", "msr daifset, #2", options(nostack)) };
    }
}

impl Machine for ArmMachine {
    type Entry = Entry;
    type Context = Context;

    const ELF_MACHINE: u16 = 183;

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let frequency = frequency();
        write!(
            out,
            "{}, GICv3, generic timer at {}.{:03} MHz",
            self.description.name,
            frequency / 1_000_000,
            frequency / 1_000 % 1_000
        )?;
        match self.description.cpus_present {
            0 | 1 => Ok(()),
            present => write!(out, ", 1 of {present} CPUs in use"),
        }
    }

    fn frame_bytes(&self, frame: Frame) -> *mut u8 {
        direct(frame.start())
    }

    fn user_range(&self) -> Range<usize> {
        0x1000..0x8000_0000_0000
    }

    /// The kernel's half has a root register of its own, so there is nothing to fill in.
    fn prepare_root(&self, _root: Frame) {}

    fn load_root(&self, root: Frame) {
        TTBR0_EL1.set(root.start().0);
        barrier::isb(barrier::SY);
        self.flush_local(FlushScope::User);
    }

    fn load_kernel_root(&self) {
        memory::load_kernel_low_root();
        self.flush_local(FlushScope::User);
    }

    fn flush_local(&self, scope: FlushScope) {
        // All user pages have address space identifier 0 and are not global, so kernel translations stay.
        match scope {
            FlushScope::Page(VirtualAddress(address)) => {
                let page = (address >> 12) as u64 & ((1 << 44) - 1);
                // SAFETY: dropping cached translations changes no mapping.
                unsafe { asm!("dsb ishst", "tlbi vaae1is, {0}", "dsb ish", "isb", in(reg) page, options(nostack)) };
            }
            FlushScope::User => {
                // SAFETY: as above.
                unsafe { asm!("dsb ishst", "tlbi aside1is, xzr", "dsb ish", "isb", options(nostack)) };
            }
        }
    }

    /// Cleans the frame's lines to where data and instruction caches meet, then drops cached instructions: all of them,
    /// because a cache may be indexed by the address under which a program fetches (Arm ARM, "Concurrent modification
    /// and execution of instructions").
    fn publish_code(&self, frame: Frame) {
        let cache_type: usize;
        // SAFETY: reading CTR_EL0 has no effect.
        unsafe { asm!("mrs {0}, ctr_el0", out(reg) cache_type, options(nostack, nomem)) };
        // DminLine: words of the smallest data cache line, as a power of two.
        let line = 4 << (cache_type >> 16 & 0xf);
        let start = direct(frame.start()) as usize;
        for address in (start..start + PAGE_SIZE).step_by(line) {
            // SAFETY: cleaning a line of mapped memory changes no byte.
            unsafe { asm!("dc cvau, {0}", in(reg) address, options(nostack)) };
        }
        // SAFETY: dropping cached instructions changes no memory.
        unsafe { asm!("dsb ish", "ic ialluis", "dsb ish", "isb", options(nostack)) };
    }

    fn flush_is_broadcast(&self) -> bool {
        true
    }

    fn run_user(&self, context: &mut Context) -> Trap {
        loop {
            fpu::prepare(context);
            // SAFETY: the context is a whole one and exclusively ours; interrupts are masked and a user space is loaded,
            // as the trait demands; the vectors bring us back.
            let reason = unsafe { vectors::enter_user(context) };
            if reason == vectors::INTERRUPT {
                return Trap::Interrupt(gic::acknowledge());
            }
            debug_assert_eq!(reason, vectors::SYNCHRONOUS);
            match decode(ESR_EL1.get(), FAR_EL1.get(), context.registers.program_counter) {
                Cause::SystemCall => return Trap::SystemCall(system_call(context)),
                Cause::FpuOff => fpu::load(context),
                Cause::Fault(fault) => return Trap::Fault(fault),
            }
        }
    }

    fn save_user_state(&self, context: &mut Context) {
        fpu::save(context);
    }

    fn set_interrupt_hook(&self, hook: fn(Interrupt)) {
        vectors::set_hook(hook);
    }

    fn start_secondaries(&'static self, _entry: fn(CpuId) -> !) -> CpuSet {
        CpuSet::of(CpuId::BOOT)
    }

    fn console_write(&self, bytes: &[u8]) {
        self.serial.send(bytes);
    }

    fn console_read(&self) -> Option<u8> {
        self.serial.receive()
    }

    fn console_line(&self) -> Option<IrqLine> {
        self.serial.enable_receive_interrupt();
        self.description.serial_line
    }

    fn raise_line(&self, line: IrqLine) -> bool {
        let state = self.mask_interrupts();
        let raised = self.gic.raise(line);
        self.restore_interrupts(state);
        raised
    }

    fn entropy(&self) -> Option<u64> {
        if ID_AA64ISAR0_EL1.read(ID_AA64ISAR0_EL1::RNDR) == 0 {
            return None;
        }
        let (value, failed): (u64, u64);
        // SAFETY: the CPU has the register (RNDR); reading it sets the zero flag on failure.
        unsafe {
            asm!("mrs {0}, s3_3_c2_c4_0", "cset {1}, eq", out(reg) value, out(reg) failed, options(nomem, nostack))
        };
        (failed == 0).then_some(value)
    }

    fn stop_others(&self) {}

    fn power_off(&self, status: ExitStatus) -> ! {
        power::off(status)
    }
}

fn system_call(context: &Context) -> SystemCall {
    let [first, second, third, fourth, ..] = context.registers.general;
    SystemCall {
        number: context.registers.general[8] as usize,
        arguments: [first, second, third, fourth].map(|argument| argument as usize),
    }
}
