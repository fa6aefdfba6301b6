//! [`Machine`]: what Tessera's kernel needs on top of [`SchedHal`].
//!
//! The kernel keeps no stack per thread: each CPU runs one loop that picks a thread, calls [`Machine::run_user`] and
//! handles the [`Trap`] that it returns. So a context is complete in memory whenever the kernel runs, but for
//! the FPU, which [`Machine::save_user_state`] completes.

use crate::{Access, CpuId, CpuSet, Frame, Interrupt, IrqLine, SchedHal, Trap, VirtualAddress};
use core::{fmt, ops::Range, sync::atomic::AtomicU64};

/// One entry of a page table of four levels with 512 entries each.
pub trait PageTableEntry: Copy + Send + Sync + 'static {
    /// The entry with these bits.
    fn from_raw(raw: u64) -> Self;
    /// Its bits.
    fn to_raw(self) -> u64;
    /// Not present.
    fn empty() -> Self;
    /// A pointer to the table of the next level, for user pages.
    fn table(frame: Frame) -> Self;
    /// A user page. Never writable and executable at once.
    fn user_page(frame: Frame, access: Access) -> Self;
    /// A user page to which there is no access at present: not present, not [`Self::empty`] either, since it keeps its
    /// frame.
    fn withdrawn(frame: Frame) -> Self;
    /// Whether it is present.
    fn is_present(self) -> bool;
    /// The frame it points to (table or page, withdrawn or not).
    fn frame(self) -> Frame;
    /// What user mode may do with the page; empty for kernel pages and withdrawn ones.
    fn access(self) -> Access;
    /// Whether there is nothing, not even a frame that is kept.
    fn is_empty(self) -> bool {
        self.to_raw() == Self::empty().to_raw()
    }
}

/// A thread's user-mode registers, with its FPU state once it has any.
pub trait UserContext: Send + 'static {
    /// A context that starts at `entry` with this stack pointer and two arguments in the ABI's first argument
    /// registers; every other register is zero.
    fn new(entry: VirtualAddress, stack: VirtualAddress, arguments: [usize; 2]) -> Self;
    /// Sets the thread pointer (FS base, `TPIDR_EL0`), an address that user mode can have.
    fn set_thread_pointer(&mut self, address: VirtualAddress);
    /// Sets what the system call returns.
    fn set_system_call_result(&mut self, result: isize);
    /// The next instruction.
    fn program_counter(&self) -> VirtualAddress;
    /// The stack pointer.
    fn stack_pointer(&self) -> VirtualAddress;
    /// Prints the registers, several a line.
    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result;
}

/// A range of physical memory that the kernel may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryRegion {
    /// The first frame.
    pub start: Frame,
    /// How many frames.
    pub frames: u64,
}

/// What the platform found, for the kernel.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo<'a> {
    /// The command line, without a trailing zero.
    pub command_line: &'a str,
    /// The initrd: the manifest and the programs.
    pub initrd: Option<&'a [u8]>,
    /// Free memory, all of it inside the direct map; nothing in use stands in it.
    pub memory: &'a [MemoryRegion],
}

/// How the machine is powered off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// Everything that was asked for was seen.
    Success,
    /// Something failed; the serial line says what.
    Failure,
}

/// What can make a secondary CPU's translations stale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushScope {
    /// One page of the loaded space.
    Page(VirtualAddress),
    /// All user pages of the loaded space.
    User,
}

/// A word in which a machine keeps how it tags the cached translations of one address space. Zero for a new space, which has
/// none; only the machine gives other values a meaning.
#[derive(Debug, Default)]
pub struct SpaceTag(AtomicU64);

impl SpaceTag {
    /// The tag of a new space.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The word.
    pub fn word(&self) -> &AtomicU64 {
        &self.0
    }
}

/// What Tessera's kernel needs of the machine. `&'static self`: there is one, built at boot, never dropped.
pub trait Machine: SchedHal + 'static {
    /// The page table entries.
    type Entry: PageTableEntry;
    /// A thread's registers.
    type Context: UserContext;

    /// What `e_machine` says in an ELF file that this machine can run: 62 on x86_64, 183 on aarch64.
    const ELF_MACHINE: u16;

    /// The machine's name and features for the boot line, such as `q35, x2APIC, TSC (checked), TSC-deadline`.
    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result;

    /// The frame's bytes in the kernel's direct map: valid for as long as the kernel runs, for frames of
    /// [`BootInfo::memory`] and the initrd. Aliasing is the caller's concern.
    fn frame_bytes(&self, frame: Frame) -> *mut u8;

    /// The addresses that user mode may have. Everything else belongs to the kernel.
    fn user_range(&self) -> Range<usize>;

    /// Fills in the kernel's half of a zeroed root table.
    fn prepare_root(&self, root: Frame);

    /// Makes page table entries that this CPU has written visible to the table walks of all CPUs. Called after entries
    /// were made and before anybody may rely on them. A machine whose walkers see stores in order has nothing to do.
    fn entries_written(&self) {}

    /// Makes code that this CPU has written to a frame visible to the instruction fetches of all CPUs. Called before the
    /// page can be executed. A machine whose instruction caches follow stores has nothing to do.
    fn code_written(&self, frame: Frame) {
        let _ = frame;
    }

    /// Loads the user half of `root` on this CPU; no translation of the earlier one is used any more. The frame must have
    /// been prepared, and must stay a valid table until another one is loaded. `tag` is the space's own, for as long as it
    /// lives.
    fn load_root(&self, root: Frame, tag: &SpaceTag);

    /// Loads the kernel's own root, which has no user half.
    fn load_kernel_root(&self);

    /// Drops cached translations of the space with this tag on this CPU, whether it is loaded or not; on all CPUs if
    /// [`Machine::flush_is_broadcast`].
    fn flush(&self, tag: &SpaceTag, scope: FlushScope);

    /// Whether `flush` reaches all CPUs by itself (TLBI broadcast), so that no kick is needed.
    fn flush_is_broadcast(&self) -> bool;

    /// Runs user mode in the loaded space until it traps. Called with interrupts masked; they are deliverable in user
    /// mode and masked again on return.
    fn run_user(&self, context: &mut Self::Context) -> Trap;

    /// Completes the context in memory (FPU), so that the thread may run on another CPU. Called on the CPU that ran it
    /// last, before anybody else can see it runnable. Cheap when nothing changed.
    fn save_user_state(&self, context: &mut Self::Context);

    /// Sets what is called for an interrupt that arrives while the kernel runs: with interrupts masked, on the
    /// interrupted stack, after the acknowledgement. It may post requests and move bytes; it may not block or allocate.
    fn set_interrupt_hook(&self, hook: fn(Interrupt));

    /// Starts all other CPUs, each on its own stack, and answers those that have come up (this one included) within a
    /// time limit. They wait, without using their CPUs, to be released. One that has not come up never enters the kernel.
    fn start_secondaries(&'static self) -> CpuSet;

    /// Lets the CPUs that have come up into the kernel, each at `entry` with interrupts masked. Once, after
    /// `start_secondaries`, when there is something for them to do.
    fn release_secondaries(&'static self, entry: fn(CpuId) -> !);

    /// Writes bytes to the console, waiting for the device. The caller serialises.
    fn console_write(&self, bytes: &[u8]);

    /// The next byte that the console received.
    fn console_read(&self) -> Option<u8>;

    /// The console's interrupt line, if it has one. Enables receive interrupts at the device.
    fn console_line(&self) -> Option<IrqLine>;

    /// Makes a device line pending once, as its device would with an edge; answers `false` where software cannot. For
    /// the conformance suite.
    fn raise_line(&self, _line: IrqLine) -> bool {
        false
    }

    /// A random number, where the machine has a source.
    fn entropy(&self) -> Option<u64>;

    /// Stops all other CPUs for good, whatever they do. For the panic path.
    fn stop_others(&self);

    /// Ends the run.
    fn power_off(&self, status: ExitStatus) -> !;
}
