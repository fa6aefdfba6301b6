//! Any bytes as a program: an image that is exactly what the headers say and keeps every promise, or a typed error that
//! names what is in the file.

use super::{USER, X86_64};
use crate::elf::{ElfError, Image, MAX_IMAGE_BYTES, MAX_SEGMENTS, Segment, check};
use alloc::{string::ToString, vec::Vec};
use hal::{Access, PAGE_SIZE};
use proptest::prelude::*;
use std::sync::LazyLock;
use tessera_fuzz::{Entry, Input, any_bytes, config, corpus};

static CORPUS: LazyLock<Vec<Entry>> =
    LazyLock::new(|| corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/src/elf/tests/corpus")));

/// A header of a segment that is loaded, as the file has it.
struct Load {
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

/// The number of so many bytes that stands there; zero where the file has ended.
fn number(file: &[u8], offset: usize, size: usize) -> u64 {
    let bytes = file.iter().skip(offset).take(size).rev();
    bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The headers of all that is loaded, read without any check. `None`: there are more than the file's header can say.
fn loads(file: &[u8]) -> Option<Vec<Load>> {
    let (first, count) = (number(file, 32, 8), number(file, 56, 2));
    let read = |index| {
        let mut fields = Input::new(file.get(usize::try_from(first + index * 56).ok()?..)?);
        let (kind, flags, offset, address) = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u64()?);
        let (_, file_size, memory_size) = (fields.u64()?, fields.u64()?, fields.u64()?);
        (kind == 1 && memory_size > 0).then_some(Load { flags, offset, address, file_size, memory_size })
    };
    // An offset near the end of all numbers leads out of every file.
    let count = if first > file.len() as u64 { 0 } else { count };
    (count < 0xffff).then(|| (0..count).filter_map(read).collect())
}

fn is_as_said(file: &[u8], segment: &Segment<'_>, load: &Load) -> bool {
    let bytes = &file[load.offset as usize..][..load.file_size as usize];
    let flags = [(Access::WRITE, 2), (Access::EXECUTE, 1)];
    segment.start.0 as u64 == load.address
        && segment.memory_size as u64 == load.memory_size
        && core::ptr::eq(segment.bytes, bytes)
        && segment.access.contains(Access::READ)
        && flags.iter().all(|&(access, flag)| segment.access.contains(access) == (load.flags & flag != 0))
}

fn keeps_its_promises(file: &[u8], image: &Image<'_>) {
    let segments: Vec<&Segment<'_>> = image.segments().collect();
    assert!((1..=MAX_SEGMENTS).contains(&segments.len()));
    if let Some(loads) = loads(file) {
        assert_eq!(segments.len(), loads.len());
        assert!(segments.iter().zip(&loads).all(|(segment, load)| is_as_said(file, segment, load)));
    }
    for (index, segment) in segments.iter().enumerate() {
        let pages = segment.page_range();
        assert!(pages.start >= USER.start && pages.end <= USER.end && pages.start < pages.end);
        assert!(segment.memory_size > 0 && segment.bytes.len() <= segment.memory_size);
        let offset = segment.bytes.as_ptr().addr() - file.as_ptr().addr();
        assert_eq!(segment.start.0 % PAGE_SIZE, offset % PAGE_SIZE);
        assert!(!segment.access.contains(Access::WRITE | Access::EXECUTE));
        let is_apart =
            |other: &&Segment<'_>| other.page_range().end <= pages.start || pages.end <= other.page_range().start;
        assert!(segments[..index].iter().all(is_apart), "two segments share a page");
    }
    let total: usize = segments.iter().map(|segment| segment.page_range().len()).sum();
    assert!(total as u64 <= MAX_IMAGE_BYTES);
    let is_entered = |segment: &&&Segment<'_>| {
        segment.access.contains(Access::EXECUTE)
            && (segment.start.0..segment.start.0 + segment.memory_size).contains(&image.entry.0)
    };
    assert_eq!(segments.iter().filter(is_entered).count(), 1);
    assert_eq!(image.entry.0 as u64, number(file, 24, 8));
}

/// What an error names is what the file has there.
fn names_what_is_there(file: &[u8], error: ElfError) {
    assert!(!error.to_string().is_empty());
    match error {
        ElfError::WrongMachine { found, expected } => {
            assert!(found != expected && expected == X86_64 && u64::from(found) == number(file, 18, 2));
        }
        ElfError::EntryNotExecutable { entry } => assert_eq!(entry, number(file, 24, 8)),
        ElfError::Truncated { segment }
        | ElfError::FileLargerThanMemory { segment }
        | ElfError::Misaligned { segment }
        | ElfError::OutsideUserMemory { segment }
        | ElfError::WritableExecutable { segment }
        | ElfError::Overlapping { segment } => {
            assert!(loads(file).is_none_or(|loads| loads.iter().any(|load| load.address == segment)));
        }
        ElfError::Malformed
        | ElfError::WrongClass
        | ElfError::NotStaticExecutable
        | ElfError::NoSegments
        | ElfError::TooManySegments
        | ElfError::TooLarge => {}
    }
}

fn answers_well(file: &[u8]) -> bool {
    match check(file, X86_64, &USER) {
        Ok(image) => keeps_its_promises(file, &image),
        Err(error) => {
            names_what_is_there(file, error);
            return false;
        }
    }
    true
}

#[test]
fn the_corpus_is_accepted_or_refused_as_its_names_say() {
    for entry in CORPUS.iter() {
        assert_eq!(answers_well(&entry.bytes), entry.name.starts_with("accepted-"), "{}", entry.name);
    }
}

proptest! {
    #![proptest_config(config(6_000))]

    #[test]
    fn any_bytes_are_an_image_that_keeps_its_promises_or_are_refused_by_type(bytes in any_bytes(&CORPUS, 1_024)) {
        answers_well(&bytes);
    }
}
