//! A machine for host tests: frames are pages of host memory with an identity "direct map"; nothing ever runs.

use crate::memory::frames::FrameAllocator;
use alloc::{boxed::Box, vec};
use core::{fmt, ops::Range};
use hal::{
    Access, ArmError, Clockevent, CpuId, CpuSet, CpuTopology, Duration, ExitStatus, Frame, Instant, Interrupt,
    InterruptState, IrqLine, Machine, MemoryRegion, PAGE_SIZE, PageTableEntry, RequestWord, Route, RouteError,
    SchedHal, Trap, UserContext, VirtualAddress,
};

/// The test machine.
pub struct TestMachine {
    word: RequestWord,
}

/// A page table entry: the frame's address with present and access bits.
#[derive(Clone, Copy)]
pub struct TestEntry(u64);

/// A context that only remembers where it starts.
pub struct TestContext {
    entry: VirtualAddress,
    stack: VirtualAddress,
}

impl TestMachine {
    /// The end of user addresses.
    pub const USER_END: usize = 1 << 47;

    /// The machine.
    pub fn get() -> &'static Self {
        Box::leak(Box::new(Self { word: RequestWord::new() }))
    }

    /// An allocator with `count` frames, never freed.
    pub fn with_frames(count: u64) -> &'static FrameAllocator<Self> {
        let bytes = vec![0xa5_u8; (count as usize + 1) * PAGE_SIZE].leak();
        let start = (bytes.as_mut_ptr().expose_provenance() as u64).div_ceil(PAGE_SIZE as u64);
        let region = MemoryRegion { start: Frame::from_number(start), frames: count };
        Box::leak(Box::new(FrameAllocator::new(Self::get(), core::iter::once(region))))
    }
}

impl PageTableEntry for TestEntry {
    fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
    fn to_raw(self) -> u64 {
        self.0
    }
    fn empty() -> Self {
        Self(0)
    }
    fn table(frame: Frame) -> Self {
        Self(frame.start().0 | 1)
    }
    fn user_page(frame: Frame, access: Access) -> Self {
        Self(frame.start().0 | 1 | u64::from(access.bits()) << 1)
    }
    fn is_present(self) -> bool {
        self.0 & 1 != 0
    }
    fn frame(self) -> Frame {
        Frame::from_number(self.0 >> 12)
    }
    fn access(self) -> Access {
        Access::from_bits_truncate((self.0 >> 1) as u8)
    }
}

impl UserContext for TestContext {
    fn new(entry: VirtualAddress, stack: VirtualAddress, _arguments: [usize; 2]) -> Self {
        Self { entry, stack }
    }
    fn set_system_call_result(&mut self, _result: isize) {}
    fn program_counter(&self) -> VirtualAddress {
        self.entry
    }
    fn stack_pointer(&self) -> VirtualAddress {
        self.stack
    }
    fn dump(&self, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
}

impl SchedHal for TestMachine {
    fn now(&self) -> Instant {
        Instant::ORIGIN
    }
    fn cpu_count(&self) -> usize {
        1
    }
    fn this_cpu(&self) -> CpuId {
        CpuId::BOOT
    }
    fn topology(&self, _cpu: CpuId) -> CpuTopology {
        CpuTopology::default()
    }
    fn mask_interrupts(&self) -> InterruptState {
        InterruptState::Masked
    }
    fn restore_interrupts(&self, _state: InterruptState) {}
    fn clockevent(&self) -> Clockevent {
        let nanosecond = Duration::from_nanos(1);
        Clockevent { resolution: nanosecond, min: nanosecond, max: Duration::from_secs(1) }
    }
    fn arm(&self, _deadline: Instant) -> Result<(), ArmError> {
        Ok(())
    }
    fn disarm(&self) {}
    fn request_word(&self, _cpu: CpuId) -> &RequestWord {
        &self.word
    }
    fn send_kick_interrupt(&self, _cpu: CpuId) {}
    fn route_irq(&self, line: IrqLine, _route: Route) -> Result<Route, RouteError> {
        Err(RouteError::NoSuchLine(line))
    }
    fn idle(&self) {}
}

impl Machine for TestMachine {
    type Entry = TestEntry;
    type Context = TestContext;
    const ELF_MACHINE: u16 = 62;

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "test")
    }
    fn frame_bytes(&self, frame: Frame) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(frame.start().0 as usize)
    }
    fn user_range(&self) -> Range<usize> {
        0x1000..Self::USER_END
    }
    fn prepare_root(&self, _root: Frame) {}
    fn load_root(&self, _root: Frame) {}
    fn load_kernel_root(&self) {}
    fn flush_local(&self, _scope: hal::machine::FlushScope) {}
    fn flush_is_broadcast(&self) -> bool {
        false
    }
    fn run_user(&self, _context: &mut TestContext) -> Trap {
        Trap::Interrupt(Interrupt::Spurious)
    }
    fn save_user_state(&self, _context: &mut TestContext) {}
    fn set_interrupt_hook(&self, _hook: fn(Interrupt)) {}
    fn start_secondaries(&'static self, _entry: fn(CpuId) -> !) -> CpuSet {
        CpuSet::of(CpuId::BOOT)
    }
    fn console_write(&self, _bytes: &[u8]) {}
    fn console_read(&self) -> Option<u8> {
        None
    }
    fn console_line(&self) -> Option<IrqLine> {
        None
    }
    fn entropy(&self) -> Option<u64> {
        None
    }
    fn stop_others(&self) {}
    fn power_off(&self, _status: ExitStatus) -> ! {
        std::process::exit(1)
    }
}
