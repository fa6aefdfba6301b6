//! A machine for host tests, in virtual time: frames are pages of host memory with an identity "direct map", and user
//! mode is a script per program, which reaches its memory through the loaded page tables.

use crate::memory::{direct, frames::FrameAllocator};
use alloc::{boxed::Box, collections::BTreeMap, string::String, vec, vec::Vec};
use core::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};
use hal::{
    Access, ArmError, Clockevent, CpuId, CpuSet, CpuTopology, Duration, ExitStatus, Frame, Instant, Interrupt,
    InterruptState, IrqLine, Machine, MemoryRegion, PAGE_SIZE, PageTableEntry, RequestWord, Requests, Route,
    RouteError, SchedHal, SpaceTag, Trap, UserContext, VirtualAddress, machine::FlushScope,
};
use spin::Mutex;
use tessera_abi::ring::{SubmissionEntry, header};

/// What a script asks the machine to do when it is "run".
pub type Script = Box<dyn FnMut(&mut User<'_>) -> Trap + Send>;

/// The test machine. User mode is a script per entry address; each step of one takes [`STEP`].
#[derive(Default)]
pub struct TestMachine {
    word: RequestWord,
    clock: AtomicU64,
    armed: Mutex<Option<Instant>>,
    root: Mutex<Option<Frame>>,
    scripts: Mutex<BTreeMap<usize, Script>>,
    output: Mutex<Vec<u8>>,
    pager: Mutex<Option<Pager>>,
    published: Mutex<Vec<Frame>>,
}

/// What a script's use of a page leads to that is not there.
pub type Pager = Box<dyn Fn(VirtualAddress) + Send>;

/// How long one step of a script takes.
pub const STEP: Duration = Duration::from_micros(50);

/// How the machine was powered off: what `power_off` unwinds with.
pub struct PoweredOff(pub ExitStatus);

/// A page table entry: the frame's address with present and access bits.
#[derive(Clone, Copy)]
pub struct TestEntry(u64);

/// A context that remembers where it started.
pub struct TestContext {
    entry: VirtualAddress,
    stack: VirtualAddress,
    arguments: [usize; 2],
    result: isize,
    tail: u32,
}

/// What a script sees: its own memory and what the last system call returned.
pub struct User<'a> {
    machine: &'a TestMachine,
    context: &'a mut TestContext,
}

impl User<'_> {
    /// What the last system call returned.
    pub fn result(&self) -> isize {
        self.context.result
    }

    /// A place on the stack, this far below its end.
    pub fn stack(&self, below: usize) -> u64 {
        (self.context.stack.0 - below) as u64
    }

    /// The start page's field at this offset.
    pub fn start_page(&self, offset: usize) -> u64 {
        self.word(self.context.arguments[0] + offset).load(Ordering::Relaxed)
    }

    /// Counts work done.
    pub fn make_progress(&self) {
        self.word(self.context.arguments[0]).fetch_add(1, Ordering::Relaxed);
    }

    /// A word of the program's memory, found as the hardware would: through the loaded root. A page that is not there is
    /// asked for, as by a fault after which the instruction runs again.
    fn word(&self, address: usize) -> &AtomicU64 {
        let frame = self.machine.walk(address).or_else(|| {
            if let Some(pager) = &*self.machine.pager.lock() {
                pager(VirtualAddress(address));
            }
            self.machine.walk(address)
        });
        let frame = frame.unwrap_or_else(|| panic!("the script touches unmapped memory at {address:#x}"));
        direct::word64(self.machine, frame, address % PAGE_SIZE)
    }

    /// Writes bytes, padded to words.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(address as usize + index * 8).store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
    }

    /// Reads whole words.
    pub fn read(&self, address: u64, words: usize) -> Vec<u8> {
        let word = |index| self.word(address as usize + index * 8).load(Ordering::Relaxed).to_ne_bytes();
        (0..words).flat_map(word).collect()
    }

    /// Queues a submission.
    pub fn submit(&mut self, entry: &SubmissionEntry) {
        let ring = self.start_page(8);
        let at = ring + PAGE_SIZE as u64 + u64::from(self.context.tail % 64) * 64;
        let head = u64::from(entry.operation)
            | u64::from(entry.flags) << 8
            | u64::from(entry.method) << 16
            | u64::from(entry.params_len) << 32;
        let lengths = u64::from(entry.results_len) | u64::from(entry.capabilities) << 32;
        let words = [
            head,
            entry.handle,
            entry.user_data,
            entry.interface,
            entry.params,
            entry.results,
            lengths,
            entry.argument,
        ];
        for (index, word) in words.into_iter().enumerate() {
            self.write(at + index as u64 * 8, &word.to_ne_bytes());
        }
        self.context.tail += 1;
        self.write(ring + 64, &u64::from(self.context.tail).to_ne_bytes());
    }

    /// Says that all completions were read.
    pub fn read_all_completions(&self) {
        let ring = self.start_page(8) as usize;
        let tail = self.word(ring + header::CQ_TAIL).load(Ordering::Relaxed);
        self.word(ring + header::CQ_HEAD).store(tail, Ordering::Relaxed);
    }

    /// The completion with this number: user data, status, flags, value.
    pub fn completion(&self, number: u64) -> (u64, i32, u32, u64) {
        let at = self.start_page(8) + 2 * PAGE_SIZE as u64 + number % 128 * 32;
        let word = |index: u64| self.word((at + index * 8) as usize).load(Ordering::Relaxed);
        (word(0), word(1) as u32 as i32, (word(1) >> 32) as u32, word(2))
    }
}

impl TestMachine {
    /// The end of user addresses.
    pub const USER_END: usize = 1 << 47;

    /// A machine of its own.
    pub fn get() -> &'static Self {
        Box::leak(Box::new(Self::default()))
    }

    /// This much free memory, full of rubbish unless there is so much of it that the host should not touch all of it.
    pub fn memory(count: u64) -> MemoryRegion {
        let rubbish = if count <= 1 << 14 { 0xa5_u8 } else { 0 };
        let bytes = vec![rubbish; (count as usize + 1) * PAGE_SIZE].leak();
        let start = (bytes.as_mut_ptr().expose_provenance() as u64).div_ceil(PAGE_SIZE as u64);
        MemoryRegion { start: Frame::from_number(start), frames: count }
    }

    /// An allocator with `count` frames, never freed.
    pub fn with_frames(count: u64) -> &'static FrameAllocator<Self> {
        Box::leak(Box::new(FrameAllocator::new(Self::get(), core::iter::once(Self::memory(count)))))
    }

    /// What runs when a context that started at `entry` is run.
    pub fn set_script(&self, entry: usize, script: Script) {
        self.scripts.lock().insert(entry, script);
    }

    /// What is done for pages that scripts use and that are not there.
    pub fn set_pager(&self, pager: Pager) {
        *self.pager.lock() = Some(pager);
    }

    /// The frames that were published as code.
    pub fn published(&self) -> Vec<Frame> {
        self.published.lock().clone()
    }

    fn walk(&self, address: usize) -> Option<Frame> {
        let mut table = self.root.lock().expect("a space is loaded");
        for shift in [39, 30, 21, 12] {
            let entry = TestEntry(direct::word64(self, table, (address >> shift) % 512 * 8).load(Ordering::Acquire));
            table = entry.is_present().then(|| entry.frame())?;
        }
        Some(table)
    }

    /// What was written to the console.
    pub fn output(&self) -> String {
        String::from_utf8(self.output.lock().clone()).unwrap()
    }

    fn advance(&self, length: Duration) {
        self.clock.fetch_add(length.as_nanos(), Ordering::Relaxed);
    }

    /// Whether the one-shot has fired; it fires once.
    fn has_fired(&self) -> bool {
        let now = self.now();
        self.armed.lock().take_if(|deadline| *deadline <= now).is_some()
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
    fn withdrawn(frame: Frame) -> Self {
        Self(frame.start().0 | 1 << 11)
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
    fn new(entry: VirtualAddress, stack: VirtualAddress, arguments: [usize; 2]) -> Self {
        Self { entry, stack, arguments, result: 0, tail: 0 }
    }
    fn set_thread_pointer(&mut self, _address: VirtualAddress) {}
    fn set_system_call_result(&mut self, result: isize) {
        self.result = result;
    }
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
        Instant::from_nanos(self.clock.load(Ordering::Relaxed))
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
    fn arm(&self, deadline: Instant) -> Result<(), ArmError> {
        *self.armed.lock() = Some(deadline);
        Ok(())
    }
    fn disarm(&self) {
        *self.armed.lock() = None;
    }
    fn request_word(&self, _cpu: CpuId) -> &RequestWord {
        &self.word
    }
    fn send_kick_interrupt(&self, _cpu: CpuId) {}
    fn route_irq(&self, line: IrqLine, _route: Route) -> Result<Route, RouteError> {
        Err(RouteError::NoSuchLine(line))
    }
    /// Time jumps to the next timer. Waiting with nothing that could end it is the bug that this machine finds.
    fn idle(&self) {
        if self.word.is_pending() {
            return;
        }
        let deadline = self.armed.lock().take().expect("an idle CPU waits for ever");
        self.clock.fetch_max(deadline.as_nanos(), Ordering::Relaxed);
        let _ = self.word.post(Requests::TIMER);
    }
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
    fn load_root(&self, root: Frame, _tag: &SpaceTag) {
        *self.root.lock() = Some(root);
    }
    fn load_kernel_root(&self) {
        *self.root.lock() = None;
    }
    fn flush(&self, _tag: &SpaceTag, _scope: FlushScope) {}
    fn code_written(&self, frame: Frame) {
        self.published.lock().push(frame);
    }
    fn flush_is_broadcast(&self) -> bool {
        false
    }
    fn run_user(&self, context: &mut TestContext) -> Trap {
        assert!(!self.word.is_pending(), "user mode is entered with a request pending");
        self.advance(STEP);
        if self.has_fired() {
            return Trap::Interrupt(Interrupt::Timer);
        }
        let mut script = self.scripts.lock().remove(&context.entry.0).expect("a script for this entry");
        let entry = context.entry.0;
        let trap = script(&mut User { machine: self, context });
        self.scripts.lock().insert(entry, script);
        trap
    }
    fn save_user_state(&self, _context: &mut TestContext) {}
    fn set_interrupt_hook(&self, _hook: fn(Interrupt)) {}
    fn start_secondaries(&'static self) -> CpuSet {
        CpuSet::of(CpuId::BOOT)
    }
    fn release_secondaries(&'static self, _entry: fn(CpuId) -> !) {}
    fn console_write(&self, bytes: &[u8]) {
        self.output.lock().extend(bytes);
    }
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
    fn power_off(&self, status: ExitStatus) -> ! {
        std::panic::panic_any(PoweredOff(status))
    }
}
