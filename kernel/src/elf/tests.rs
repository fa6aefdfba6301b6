//! Builds small ELF files field by field and breaks one field at a time.

mod bytes;

use super::*;
use alloc::vec::Vec;

const USER: Range<usize> = 0x1000..1 << 47;
const X86_64: u16 = 62;

struct Load {
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

fn load(flags: u32, offset: u64, address: u64, file_size: u64, memory_size: u64) -> Load {
    Load { flags, offset, address, file_size, memory_size, align: 4096 }
}

fn file_of_type(e_type: u16, machine: u16, entry: u64, loads: &[Load]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(e_type.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend(entry.to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, loads.len() as u16, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for load in loads {
        file.extend(1_u32.to_le_bytes());
        file.extend(load.flags.to_le_bytes());
        for word in [load.offset, load.address, load.address, load.file_size, load.memory_size, load.align] {
            file.extend(word.to_le_bytes());
        }
    }
    file.resize(0x3000, 0x90);
    file
}

fn file(entry: u64, loads: &[Load]) -> Vec<u8> {
    file_of_type(2, X86_64, entry, loads)
}

fn text() -> Load {
    load(5, 0x1000, 0x20_0000, 0x800, 0x800)
}

/// A program of one page of code that starts at this address in it.
pub fn small_program(entry: u64) -> Vec<u8> {
    file(entry, &[text()])
}

fn verdict(loads: &[Load]) -> Result<usize, ElfError> {
    check(&file(0x20_0010, loads), X86_64, &USER).map(|image| image.segments().count())
}

#[test]
fn a_static_executable_passes_with_its_segments() {
    let file = file(0x20_0010, &[text(), load(6, 0x2000, 0x20_1000, 0x10, 0x2000)]);
    let image = check(&file, X86_64, &USER).unwrap();
    assert_eq!(image.entry, VirtualAddress(0x20_0010));
    let segments: Vec<_> = image.segments().collect();
    assert_eq!(segments[0].access, Access::READ | Access::EXECUTE);
    assert_eq!(segments[1].access, Access::READ | Access::WRITE);
    assert_eq!((segments[1].bytes.len(), segments[1].memory_size), (0x10, 0x2000));
    assert_eq!(image.end(), 0x20_3000);
    assert_eq!(segments[1].pages().count(), 2);
}

#[test]
fn each_broken_field_is_refused_by_name() {
    let segment = 0x20_1000;
    let data = |flags, address, file_size, memory_size| load(flags, 0x2000, address, file_size, memory_size);
    assert_eq!(verdict(&[]), Err(ElfError::NoSegments));
    assert_eq!(verdict(&[text(), data(7, segment, 1, 1)]), Err(ElfError::WritableExecutable { segment }));
    assert_eq!(verdict(&[text(), data(6, 0x20_0000, 1, 1)]), Err(ElfError::Overlapping { segment: 0x20_0000 }));
    assert_eq!(verdict(&[text(), data(6, segment, 2, 1)]), Err(ElfError::FileLargerThanMemory { segment }));
    assert_eq!(verdict(&[text(), data(6, segment, 0x1001, 0x1001)]), Err(ElfError::Truncated { segment }));
    assert_eq!(verdict(&[text(), data(6, segment, 1, 65 << 20)]), Err(ElfError::TooLarge));
    assert_eq!(
        verdict(&[text(), data(6, 0x21_0000, 1, 40 << 20), data(6, 0x1000_0000, 1, 40 << 20)]),
        Err(ElfError::TooLarge)
    );
    assert_eq!(verdict(&[text(), data(6, segment + 8, 1, 1)]), Err(ElfError::Misaligned { segment: segment + 8 }));
    let odd = Load { align: 3, ..data(6, segment, 1, 1) };
    assert_eq!(verdict(&[text(), odd]), Err(ElfError::Misaligned { segment }));
    let kernel = 0xffff_8000_0000_0000;
    for outside in [0, 1 << 47, kernel, !0xfff] {
        assert_eq!(verdict(&[text(), data(6, outside, 1, 1)]), Err(ElfError::OutsideUserMemory { segment: outside }));
    }
    let many: Vec<Load> = (0..17).map(|page| load(5, 0x1000, 0x20_0000 + page * 0x1000, 0x800, 0x800)).collect();
    assert_eq!(verdict(&many), Err(ElfError::TooManySegments));
}

#[test]
fn the_entry_must_be_code() {
    let loads = || [text(), load(6, 0x2000, 0x20_1000, 0x10, 0x10)];
    for entry in [0, 0x20_0800, 0x20_1000, u64::MAX] {
        assert_eq!(check(&file(entry, &loads()), X86_64, &USER), Err(ElfError::EntryNotExecutable { entry }));
    }
}

#[test]
fn other_machines_and_kinds_are_refused() {
    let wrong = file_of_type(2, 183, 0x20_0010, &[text()]);
    assert_eq!(check(&wrong, X86_64, &USER), Err(ElfError::WrongMachine { found: 183, expected: 62 }));
    let shared = file_of_type(3, X86_64, 0x20_0010, &[text()]);
    assert_eq!(check(&shared, X86_64, &USER), Err(ElfError::NotStaticExecutable));
    let mut narrow = file(0x20_0010, &[text()]);
    narrow[4] = 1;
    assert!(check(&narrow, X86_64, &USER).is_err());
    narrow[4] = 2;
    narrow[5] = 2;
    assert_eq!(check(&narrow, X86_64, &USER), Err(ElfError::WrongClass));
}

#[test]
fn no_cut_and_no_changed_byte_makes_the_check_panic_or_read_outside() {
    let whole = file(0x20_0010, &[text(), load(6, 0x2000, 0x20_1000, 0x10, 0x2000)]);
    for length in 0..whole.len().min(0x200) {
        assert!(check(&whole[..length], X86_64, &USER).is_err(), "{length} bytes");
    }
    for position in 0..64 + 2 * 56 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[position] = value;
            if let Ok(image) = check(&changed, X86_64, &USER) {
                assert!(image.segments().all(|segment| segment.page_range().end <= USER.end));
            }
        }
    }
}
