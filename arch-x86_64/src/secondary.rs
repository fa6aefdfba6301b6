//! Starts the secondary CPUs, all at once: INIT and start-up to each, one wait for all (Intel SDM volume 3, 9.4.4).
//!
//! A started CPU begins in real mode in the trampoline's page, turns on long mode with the trampoline's root table,
//! finds its number by its APIC id, takes its own stack and enters `secondary_start`. From there it moves through the
//! stages: it arrives, takes part in the clock check, and runs. The boot CPU may abandon it before either step, so a
//! CPU that is late never enters the kernel; both sides move by compare-exchange and one of them wins.
//!
//! Waiting CPUs halt, so that hundreds of them on few host cores do not slow the boot CPU down. They are woken by
//! kicks; the CPU side must be able to take interrupts once `prepare` has returned.

use crate::apic::Command;
use crate::clock::CrossCheck;
use crate::devices::Devices;
use crate::madt::MAX_CPUS;
use crate::topology::{RawTopology, ThisCpu};
use crate::{memory, paging, percpu, vectors};
use core::arch::global_asm;
use core::hint;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use spin::Once;
use tessera_hal::port::stages::{Stage, Stages};
use tessera_hal::{CpuId, CpuSet, Duration, PAGE_SIZE};
use x86_64::instructions::{hlt, interrupts};
use x86_64::registers::model_specific::{Efer, EferFlags};

/// What every started CPU must know.
struct Plan {
    devices: &'static Devices,
    prepare: fn(CpuId),
}

static PLAN: Once<Plan> = Once::new();
static STAGES: Stages<MAX_CPUS> = Stages::new();
static CHECK: CrossCheck = CrossCheck::new();
/// The check may begin.
static CHECK_OPEN: AtomicBool = AtomicBool::new(false);
/// Where the kernel is entered, once it may be.
static KERNEL: Once<fn(CpuId) -> !> = Once::new();
/// Where each CPU's stack ends, for the trampoline.
static STACK_TOPS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Between INIT and start-up.
const AFTER_INIT: Duration = Duration::from_millis(10);
/// After which a CPU that has not been heard of gets a second start-up.
const BETWEEN_STARTUPS: Duration = Duration::from_millis(20);
/// How long all CPUs together may take for one stage, and how much more each of them adds.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_PER_CPU: Duration = Duration::from_millis(20);

/// Starts all other CPUs and answers those that run (the boot CPU included). The clock is settled on the way.
///
/// `prepare` sets a CPU up on that CPU: descriptors, control registers, the kernel's root; afterwards it must be able
/// to take interrupts. Once, on the boot CPU.
pub fn start(devices: &'static Devices, prepare: fn(CpuId)) -> CpuSet {
    PLAN.call_once(|| Plan { devices, prepare });
    let boot = CpuSet::of(CpuId::BOOT);
    let wanted = CpuSet::first(devices.cpus().len()).difference(&boot);
    write_trampoline(devices);
    send_start(devices, &wanted);
    let arrived = STAGES.settle(&wanted, Stage::Arrived, Stage::Absent);
    check_clocks(devices, &arrived);
    let running = STAGES.settle(&arrived, Stage::Checked, Stage::Arrived);
    devices.settle(&CHECK, CHECK.participants() == arrived.len() + 1);
    running.union(&boot)
}

/// Lets the CPUs that run into the kernel, at `entry` with interrupts masked. Once.
pub fn release(devices: &Devices, entry: fn(CpuId) -> !) {
    KERNEL.call_once(|| entry);
    let others = CpuSet::<8>::first(devices.cpus().len()).difference(&CpuSet::of(CpuId::BOOT));
    wake(devices, &others.iter().filter(|&cpu| is_running(cpu)).collect());
}

/// Whether `cpu` is running: it came up in time, or it is the boot CPU.
pub fn is_running(cpu: CpuId) -> bool {
    cpu == CpuId::BOOT || STAGES.is(cpu, Stage::Checked)
}

/// Those of the first `count` CPUs that did not come up in time.
pub fn late(count: usize) -> CpuSet {
    STAGES.abandoned(count)
}

fn send_start(devices: &Devices, wanted: &CpuSet) {
    let page = memory::TRAMPOLINE.number() as u8;
    let send = |cpu: CpuId, command| devices.send(cpu, command);
    wanted.iter().for_each(|cpu| send(cpu, Command::Init));
    wait(devices, AFTER_INIT, || wanted.is_empty());
    wanted.iter().for_each(|cpu| send(cpu, Command::StartUp(page)));
    let all_arrived = || wanted.iter().all(|cpu| STAGES.is(cpu, Stage::Arrived));
    if wait(devices, BETWEEN_STARTUPS, all_arrived) {
        return;
    }
    wanted.iter().filter(|&cpu| STAGES.is(cpu, Stage::Absent)).for_each(|cpu| send(cpu, Command::StartUp(page)));
    wait(devices, patience(wanted), all_arrived);
}

/// Lets all CPUs read their counters at the same time.
fn check_clocks(devices: &Devices, arrived: &CpuSet) {
    CHECK_OPEN.store(true, Ordering::Release);
    wake(devices, arrived);
    devices.cross_check(&CHECK);
    wait(devices, patience(arrived), || arrived.iter().all(|cpu| STAGES.is(cpu, Stage::Checked)));
}

fn wake(devices: &Devices, cpus: &CpuSet) {
    cpus.iter().for_each(|cpu| devices.send(cpu, Command::Fixed(vectors::KICK)));
}

fn patience(cpus: &CpuSet) -> Duration {
    PATIENCE.saturating_add(Duration::from_nanos(PATIENCE_PER_CPU.as_nanos() * cpus.len() as u64))
}

/// Waits until `done`, but no longer than `limit`; answers whether it was done.
fn wait(devices: &Devices, limit: Duration, done: impl Fn() -> bool) -> bool {
    let end = devices.now().saturating_add(limit);
    while !done() {
        if devices.now() > end {
            return false;
        }
        hint::spin_loop();
    }
    true
}

/// Where the trampoline leads to, on the CPU's own stack with interrupts masked.
extern "C" fn secondary_start(index: usize) -> ! {
    let cpu = CpuId::new(index as u16);
    let Some(plan) = PLAN.get() else { stop() };
    (plan.prepare)(cpu);
    plan.devices.enable_here();
    plan.devices.note_topology(cpu, RawTopology::read(&ThisCpu));
    if !STAGES.advance(cpu, Stage::Absent, Stage::Arrived) {
        stop();
    }
    halt_until(|| CHECK_OPEN.load(Ordering::Acquire));
    plan.devices.cross_check(&CHECK);
    if !STAGES.advance(cpu, Stage::Arrived, Stage::Checked) {
        stop();
    }
    halt_until(|| KERNEL.is_completed());
    plan.devices.set_up_timer_here();
    match KERNEL.get() {
        Some(entry) => entry(cpu),
        None => stop(),
    }
}

/// Halts until the boot CPU has opened the gate. The gate is looked at with interrupts masked, and they are unmasked
/// by the halt itself, so that no kick is missed.
fn halt_until(is_open: impl Fn() -> bool) {
    while !is_open() {
        interrupts::enable_and_hlt();
        interrupts::disable();
    }
}

/// This CPU came too late.
fn stop() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}

/// What the trampoline reads, at [`PARAMETERS`] in its page. The assembly knows the offsets.
#[repr(C)]
struct Parameters {
    table_limit: u16,
    table_base_low: u16,
    table_base_high: u16,
    reserved: u16,
    entry_offset: u32,
    entry_selector: u32,
    root: u32,
    reserved_too: u32,
    efer: u64,
    ids: u64,
    count: u64,
    stack_tops: u64,
    kernel: u64,
    descriptors: [u64; 3],
}

const PARAMETERS: usize = 0x400;
const CODE_SELECTOR: u32 = 0x08;
const CODE: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;

fn write_trampoline(devices: &Devices) {
    for (index, top) in STACK_TOPS.iter().enumerate().take(devices.cpus().len()) {
        let (_, end) = percpu::stack(CpuId::new(index as u16), percpu::Stack::Kernel);
        top.store(end.0 as u64, Ordering::Relaxed);
    }
    let code = trampoline_code();
    let page = memory::TRAMPOLINE.start();
    let place = paging::direct(page);
    assert!(code.bytes.len() <= PARAMETERS && PARAMETERS + size_of::<Parameters>() <= PAGE_SIZE);
    // SAFETY: the frame is RAM that nobody else uses, in the direct map, and the code is smaller than it.
    unsafe { place.copy_from_nonoverlapping(code.bytes.as_ptr(), code.bytes.len()) };
    let parameters = parameters(devices, page.0 as u32, code.long_mode);
    // SAFETY: as above; the offset is a multiple of the type's alignment.
    unsafe { place.wrapping_add(PARAMETERS).cast::<Parameters>().write(parameters) };
}

fn parameters(devices: &Devices, page: u32, long_mode: u32) -> Parameters {
    let table = page + PARAMETERS as u32 + core::mem::offset_of!(Parameters, descriptors) as u32;
    // The active bit is the CPU's to set.
    let efer = (Efer::read() & (EferFlags::NO_EXECUTE_ENABLE | EferFlags::LONG_MODE_ENABLE)).bits();
    Parameters {
        table_limit: 3 * 8 - 1,
        table_base_low: table as u16,
        table_base_high: (table >> 16) as u16,
        reserved: 0,
        entry_offset: page + long_mode,
        entry_selector: CODE_SELECTOR,
        root: paging::trampoline_root().0 as u32,
        reserved_too: 0,
        efer,
        ids: devices.cpus().as_ptr() as u64,
        count: devices.cpus().len() as u64,
        stack_tops: STACK_TOPS.as_ptr() as u64,
        kernel: secondary_start as *const () as u64,
        descriptors: [0, CODE, DATA],
    }
}

struct TrampolineCode {
    bytes: &'static [u8],
    /// Where in it the 64-bit code begins.
    long_mode: u32,
}

fn trampoline_code() -> TrampolineCode {
    unsafe extern "C" {
        static secondary_trampoline: u8;
        static secondary_trampoline_long: u8;
        static secondary_trampoline_end: u8;
    }
    let start = &raw const secondary_trampoline;
    let length = &raw const secondary_trampoline_end as usize - start as usize;
    let long_mode = (&raw const secondary_trampoline_long as usize - start as usize) as u32;
    // SAFETY: the symbols stand at the start and the end of one constant piece of code.
    let bytes = unsafe { core::slice::from_raw_parts(start, length) };
    TrampolineCode { bytes, long_mode }
}

// Real mode, with the data segment at the page. All addresses in the page are offsets from its start, and the far
// pointer is computed when the page is filled, so the assembler needs no symbol difference.
global_asm!(
    r#"
    .pushsection .rodata.secondary_trampoline, "a", @progbits
    .balign 16
    .code16
    .global secondary_trampoline
secondary_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movzwl %ax, %ebp
    shll $4, %ebp
    lgdtl {gdt_pointer}
    movl $0x20, %eax
    movl %eax, %cr4
    movl {root}, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    movl {efer}, %eax
    movl {efer} + 4, %edx
    wrmsr
    movl $0x80010033, %eax
    movl %eax, %cr0
    ljmpl *{far_pointer}

    .code64
    .global secondary_trampoline_long
secondary_trampoline_long:
    movl $0x10, %eax
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %ebp, %ebp
    xorl %eax, %eax
    cpuid
    cmpl $0x0b, %eax
    jb 2f
    movl $0x0b, %eax
    xorl %ecx, %ecx
    cpuid
    testl %ebx, %ebx
    jz 2f
    movl %edx, %eax
    jmp 3f
2:  movl $1, %eax
    cpuid
    shrl $24, %ebx
    movl %ebx, %eax
3:  movq {ids}(%rbp), %rdi
    movq {count}(%rbp), %rcx
    testq %rcx, %rcx
    jz 4f
    repne scasl
    jne 4f
    movq {count}(%rbp), %rdi
    subq %rcx, %rdi
    decq %rdi
    movq {stack_tops}(%rbp), %rax
    movq (%rax, %rdi, 8), %rsp
    movq {kernel}(%rbp), %rax
    xorl %ebp, %ebp
    pushq $0
    jmpq *%rax
4:  cli
    hlt
    jmp 4b
    .global secondary_trampoline_end
secondary_trampoline_end:
    .popsection
"#,
    gdt_pointer = const PARAMETERS,
    far_pointer = const PARAMETERS + core::mem::offset_of!(Parameters, entry_offset),
    root = const PARAMETERS + core::mem::offset_of!(Parameters, root),
    efer = const PARAMETERS + core::mem::offset_of!(Parameters, efer),
    ids = const PARAMETERS + core::mem::offset_of!(Parameters, ids),
    count = const PARAMETERS + core::mem::offset_of!(Parameters, count),
    stack_tops = const PARAMETERS + core::mem::offset_of!(Parameters, stack_tops),
    kernel = const PARAMETERS + core::mem::offset_of!(Parameters, kernel),
    options(att_syntax)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trampoline_leaves_room_for_its_parameters() {
        let code = trampoline_code();
        assert!(code.bytes.len() <= PARAMETERS);
        assert!((code.long_mode as usize) < code.bytes.len());
    }
}
