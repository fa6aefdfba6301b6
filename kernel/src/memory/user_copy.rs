//! Copies between the kernel and a user buffer, which is always an (address space, range).
//!
//! The loaded page table plays no part: each page is looked up in the space that the buffer belongs to and copied
//! through the direct map, so a ring can be consumed from any CPU. Pages that were never used get their frames. Nothing is
//! copied unless the page allows it; a copy
//! that fails half-way has copied the pages before. The space stays locked while a page is copied: a timer may bring the
//! result of a sleep on one CPU while the program ends on another.

use super::{
    address_space::{AddressSpace, WordKey},
    direct,
};
use core::{fmt, sync::atomic::Ordering};
use hal::{Access, Frame, Machine, PAGE_SIZE, VirtualAddress};

/// The buffer is not wholly mapped user memory with the access that was needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadBuffer {
    /// The first address that failed.
    pub address: VirtualAddress,
}

impl fmt::Display for BadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user memory at {} cannot be used", self.address)
    }
}

/// Why a copy between two spaces stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyError {
    /// The source cannot be read.
    From(BadBuffer),
    /// The destination cannot be written.
    To(BadBuffer),
}

/// Bytes that are copied at a time between two spaces.
const BOUNCE_BYTES: usize = 512;

/// The part of a buffer that lies in one page.
struct Chunk {
    address: VirtualAddress,
    offset: usize,
    length: usize,
}

/// Cuts `length` bytes from `address` at page boundaries; fails where the addresses wrap.
fn chunks(address: u64, length: usize) -> Result<impl Iterator<Item = Chunk>, BadBuffer> {
    let wrapped = |_| BadBuffer { address: VirtualAddress(usize::MAX) };
    let start = usize::try_from(address).map_err(wrapped)?;
    let end = start.checked_add(length).ok_or(BadBuffer { address: VirtualAddress(start) })?;
    let mut next = start;
    Ok(core::iter::from_fn(move || {
        let address = VirtualAddress(next);
        let length = (PAGE_SIZE - address.page_offset()).min(end - next);
        next += length;
        (length > 0).then_some(Chunk { address, offset: next - length - start, length })
    }))
}

/// Does `work` with the frame of one chunk.
fn with_chunk<M: Machine>(
    space: &AddressSpace<M>,
    chunk: &Chunk,
    need: Access,
    work: impl FnOnce(Frame),
) -> Result<(), BadBuffer> {
    space.with_page(chunk.address, need, work).ok_or(BadBuffer { address: chunk.address })
}

/// Copies `into.len()` bytes from user memory.
pub fn copy_from_user<M: Machine>(
    machine: &M,
    space: &AddressSpace<M>,
    address: u64,
    into: &mut [u8],
) -> Result<(), BadBuffer> {
    for chunk in chunks(address, into.len())? {
        let part = &mut into[chunk.offset..chunk.offset + chunk.length];
        let offset = chunk.address.page_offset();
        with_chunk(space, &chunk, Access::READ, |frame| direct::read(machine, frame, offset, part))?;
    }
    Ok(())
}

/// Copies `from` into user memory.
pub fn copy_to_user<M: Machine>(
    machine: &M,
    space: &AddressSpace<M>,
    address: u64,
    from: &[u8],
) -> Result<(), BadBuffer> {
    for chunk in chunks(address, from.len())? {
        let part = &from[chunk.offset..chunk.offset + chunk.length];
        let offset = chunk.address.page_offset();
        with_chunk(space, &chunk, Access::WRITE, |frame| direct::write(machine, frame, offset, part))?;
    }
    Ok(())
}

/// Copies between two spaces, or within one, over a small buffer: the two are never locked at once. What precedes an
/// address that fails is copied.
pub fn copy_between<M: Machine>(
    machine: &M,
    from: (&AddressSpace<M>, u64),
    to: (&AddressSpace<M>, u64),
    length: usize,
) -> Result<(), CopyError> {
    let mut buffer = [0; BOUNCE_BYTES];
    let mut done = 0;
    while done < length {
        let part = &mut buffer[..BOUNCE_BYTES.min(length - done)];
        let at = |address: u64| address.saturating_add(done as u64);
        copy_from_user(machine, from.0, at(from.1), part).map_err(CopyError::From)?;
        copy_to_user(machine, to.0, at(to.1), part).map_err(CopyError::To)?;
        done += part.len();
    }
    Ok(())
}

/// Reads an aligned word in one piece. An address that is not aligned is refused.
pub fn read_word<M: Machine>(machine: &M, space: &AddressSpace<M>, address: u64) -> Result<u32, BadBuffer> {
    let address = VirtualAddress(address as usize);
    let mut word = None;
    if address.0.is_multiple_of(size_of::<u32>()) {
        let read = |frame| direct::word32(machine, frame, address.page_offset()).load(Ordering::Acquire);
        space.with_page(address, Access::READ, |frame| word = Some(read(frame)));
    }
    word.ok_or(BadBuffer { address })
}

/// What an aligned word is to those who wait at it.
pub fn key_of_word<M: Machine>(space: &AddressSpace<M>, address: u64) -> Result<WordKey, BadBuffer> {
    let address = VirtualAddress(address as usize);
    let aligned = address.0.is_multiple_of(size_of::<u32>());
    aligned.then(|| space.key_of_word(address)).flatten().ok_or(BadBuffer { address })
}

/// Whether `length` bytes at `address` can all be read.
pub fn check_readable<M: Machine>(space: &AddressSpace<M>, address: u64, length: usize) -> Result<(), BadBuffer> {
    chunks(address, length)?.try_for_each(|chunk| with_chunk(space, &chunk, Access::READ, drop))
}

/// Whether `length` bytes at `address` can all be written.
pub fn check_writable<M: Machine>(space: &AddressSpace<M>, address: u64, length: usize) -> Result<(), BadBuffer> {
    chunks(address, length)?.try_for_each(|chunk| with_chunk(space, &chunk, Access::WRITE, drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;
    use alloc::{sync::Arc, vec, vec::Vec};
    use kernel_core::limits::Quota;

    const BASE: usize = 0x20_0000;

    fn space() -> AddressSpace<TestMachine> {
        let space = AddressSpace::new(TestMachine::with_frames(32), &Arc::new(Quota::new(32))).unwrap();
        space.map_anonymous(VirtualAddress(BASE), 2, Access::READ | Access::WRITE).unwrap();
        space.map_anonymous(VirtualAddress(BASE + 2 * PAGE_SIZE), 1, Access::READ).unwrap();
        space
    }

    #[test]
    fn bytes_survive_the_way_over_a_page_boundary() {
        let space = space();
        let machine = TestMachine::get();
        let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for start in [BASE + 3, BASE + 16] {
            copy_to_user(machine, &space, start as u64, &bytes).unwrap();
            let mut back = vec![0; 5000];
            copy_from_user(machine, &space, start as u64, &mut back).unwrap();
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn kernel_unmapped_read_only_and_wrapping_buffers_are_refused() {
        let space = space();
        let machine = TestMachine::get();
        let mut buffer = [0; 64];
        let bad = |address: usize| Err(BadBuffer { address: VirtualAddress(address) });
        for address in [0, TestMachine::USER_END, usize::MAX - 4095, BASE + 3 * PAGE_SIZE] {
            assert_eq!(copy_from_user(machine, &space, address as u64, &mut buffer), bad(address));
        }
        assert_eq!(copy_from_user(machine, &space, u64::MAX - 3, &mut buffer), bad(usize::MAX - 3));
        let last = BASE + 3 * PAGE_SIZE;
        assert_eq!(copy_from_user(machine, &space, last as u64 - 32, &mut buffer), bad(last));
        assert_eq!(copy_to_user(machine, &space, last as u64 - 64, &buffer), bad(last - 64));
        assert_eq!(check_writable(&space, last as u64 - 64, 1), bad(last - 64));
        assert_eq!(check_writable(&space, BASE as u64, 2 * PAGE_SIZE), Ok(()));
    }

    #[test]
    fn an_empty_buffer_touches_nothing() {
        assert_eq!(copy_from_user(TestMachine::get(), &space(), 0, &mut []), Ok(()));
    }
}
