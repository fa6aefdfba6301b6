//! Does one forbidden thing, named by the argument. The kernel must end it; whoever comes past that exits with 1.
#![no_std]
#![no_main]

use core::{hint, mem, ptr};
use tessera_rt::{println, probe, start};

tessera_rt::entry!(main);

fn main() -> i32 {
    let role = start::argument(0).unwrap_or("");
    match role {
        "kernel-read" => read_from(probe::KERNEL_ADDRESS),
        "null" => read_from(0),
        "unmapped" => read_from(0x7000_0000_0000),
        "non-canonical" => read_from(0x8000_0000_0000_0000),
        "code-write" => write_to(main as fn() -> i32 as usize),
        "privileged" => probe::execute_privileged(),
        "local-descriptor" => probe::load_local_descriptor(),
        "stack-overflow" => descend(0),
        "divide" => probe::divide_by_zero(),
        "kernel-jump" => jump_to(probe::KERNEL_ADDRESS),
        "data-jump" => execute_data(),
        _ => {
            println!("no role '{role}'");
            return 2;
        }
    }
    println!("'{role}' was survived");
    1
}

fn read_from(address: usize) {
    // SAFETY: not safe at all, and meant so: the address is not the program's, and the kernel ends it here.
    let value = unsafe { ptr::with_exposed_provenance::<u8>(address).read_volatile() };
    hint::black_box(value);
}

fn write_to(address: usize) {
    // SAFETY: not safe at all, and meant so: code is not writable, and the kernel ends the program here.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(0) };
}

fn jump_to(address: usize) {
    // SAFETY: not safe at all, and meant so: the kernel ends the program at the first instruction.
    let function: fn() = unsafe { mem::transmute(address) };
    function();
}

fn execute_data() {
    let data = hint::black_box([0xc3u8; 16]);
    jump_to(data.as_ptr().expose_provenance());
}

/// Uses the stack up. Not a tail call: each level reads its own array after the deeper ones.
fn descend(depth: u64) {
    let level = hint::black_box([depth; 64]);
    if hint::black_box(depth) < u64::MAX {
        descend(depth + 1);
    }
    hint::black_box(level[(depth % 64) as usize]);
}
