//! What an ELF file must be to run: a static ELF64 executable whose segments are whole, apart, inside user memory and
//! never writable and executable at once. Pure checks over bytes; [`crate::process`] maps what passes.

use crate::memory::address_space::pages;
use core::{fmt, ops::Range};
use elf::{ElfBytes, abi, endian::LittleEndian, file::Class, segment::ProgramHeader};
use hal::{Access, PAGE_SIZE, VirtualAddress};

/// The most segments of a program.
pub const MAX_SEGMENTS: usize = 16;
/// The most memory that the segments of one program take: 64 MiB.
pub const MAX_IMAGE_BYTES: u64 = 64 << 20;

/// Why a file is not a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// The headers are not those of an ELF file, or are cut off.
    Malformed,
    /// Not a 64-bit little-endian file.
    WrongClass,
    /// Built for another machine.
    WrongMachine {
        /// What the file says.
        found: u16,
        /// What this machine is.
        expected: u16,
    },
    /// Not a static executable: a shared object, position independent or with an interpreter.
    NotStaticExecutable,
    /// Nothing to load.
    NoSegments,
    /// More than [`MAX_SEGMENTS`].
    TooManySegments,
    /// The file ends before the segment does.
    Truncated {
        /// Where the segment would stand.
        segment: u64,
    },
    /// More bytes in the file than in memory.
    FileLargerThanMemory {
        /// Where the segment would stand.
        segment: u64,
    },
    /// The program needs more than [`MAX_IMAGE_BYTES`].
    TooLarge,
    /// The address and the offset differ within the page, or the alignment is not a multiple of the page size.
    Misaligned {
        /// Where the segment would stand.
        segment: u64,
    },
    /// Outside user memory.
    OutsideUserMemory {
        /// Where the segment would stand.
        segment: u64,
    },
    /// Writable and executable.
    WritableExecutable {
        /// Where the segment would stand.
        segment: u64,
    },
    /// Shares a page with an earlier segment.
    Overlapping {
        /// Where the segment would stand.
        segment: u64,
    },
    /// The entry point is in no executable segment.
    EntryNotExecutable {
        /// The entry point.
        entry: u64,
    },
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "the ELF headers are malformed or cut off"),
            Self::WrongClass => write!(f, "not a 64-bit little-endian ELF file"),
            Self::WrongMachine { found, expected } => {
                write!(f, "built for ELF machine {found}, this machine is {expected}")
            }
            Self::NotStaticExecutable => write!(f, "not a static executable"),
            Self::NoSegments => write!(f, "no segment to load"),
            Self::TooManySegments => write!(f, "more than {MAX_SEGMENTS} segments"),
            Self::Truncated { segment } => write!(f, "the file ends before segment {segment:#x} does"),
            Self::FileLargerThanMemory { segment } => {
                write!(f, "segment {segment:#x} has more bytes in the file than in memory")
            }
            Self::TooLarge => write!(f, "the segments take more than {} MiB", MAX_IMAGE_BYTES >> 20),
            Self::Misaligned { segment } => write!(f, "segment {segment:#x} is not page-aligned"),
            Self::OutsideUserMemory { segment } => write!(f, "segment {segment:#x} is outside user memory"),
            Self::WritableExecutable { segment } => write!(f, "segment {segment:#x} is writable and executable"),
            Self::Overlapping { segment } => write!(f, "segment {segment:#x} overlaps an earlier one"),
            Self::EntryNotExecutable { entry } => write!(f, "entry point {entry:#x} is in no executable segment"),
        }
    }
}

/// A segment that may be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// The address of the first byte.
    pub start: VirtualAddress,
    /// Bytes in memory, at least one.
    pub memory_size: usize,
    /// The bytes from the file; the rest is zero.
    pub bytes: &'a [u8],
    /// What user mode may do.
    pub access: Access,
}

impl Segment<'_> {
    /// The pages that it touches.
    pub fn page_range(&self) -> Range<usize> {
        let end = self.start.0 + self.memory_size;
        self.start.page().0..end.next_multiple_of(PAGE_SIZE)
    }

    /// The pages that it touches, one by one.
    pub fn pages(&self) -> impl Iterator<Item = VirtualAddress> + use<> {
        let range = self.page_range();
        pages(VirtualAddress(range.start), range.len()).into_iter().flatten()
    }
}

/// A program that passed every check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image<'a> {
    /// Where it starts.
    pub entry: VirtualAddress,
    segments: [Option<Segment<'a>>; MAX_SEGMENTS],
}

impl<'a> Image<'a> {
    /// The segments in file order.
    pub fn segments(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter().flatten()
    }

    /// The first address behind the highest segment, page-aligned.
    pub fn end(&self) -> usize {
        self.segments().map(|segment| segment.page_range().end).max().unwrap_or(0)
    }
}

/// Checks a file for a machine and its user memory.
pub fn check<'a>(file: &'a [u8], machine: u16, user: &Range<usize>) -> Result<Image<'a>, ElfError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|error| match error {
        elf::ParseError::UnsupportedElfEndianness(_) => ElfError::WrongClass,
        _ => ElfError::Malformed,
    })?;
    check_header(&elf, machine)?;
    let mut segments = [None; MAX_SEGMENTS];
    let mut count = 0;
    let mut total = 0_u64;
    for header in elf.segments().ok_or(ElfError::NoSegments)?.iter().filter(|header| header.p_type == abi::PT_LOAD) {
        if header.p_memsz == 0 {
            continue;
        }
        let segment = check_segment(file, &header, user)?;
        total = total.saturating_add(segment.page_range().len() as u64);
        if total > MAX_IMAGE_BYTES {
            return Err(ElfError::TooLarge);
        }
        if segments.iter().flatten().any(|earlier| overlap(earlier, &segment)) {
            return Err(ElfError::Overlapping { segment: header.p_vaddr });
        }
        *segments.get_mut(count).ok_or(ElfError::TooManySegments)? = Some(segment);
        count += 1;
    }
    if count == 0 {
        return Err(ElfError::NoSegments);
    }
    let image = Image { entry: VirtualAddress(elf.ehdr.e_entry as usize), segments };
    check_entry(&image)?;
    Ok(image)
}

fn check_header(elf: &ElfBytes<'_, LittleEndian>, machine: u16) -> Result<(), ElfError> {
    if elf.ehdr.class != Class::ELF64 {
        return Err(ElfError::WrongClass);
    }
    if elf.ehdr.e_machine != machine {
        return Err(ElfError::WrongMachine { found: elf.ehdr.e_machine, expected: machine });
    }
    let interpreted = |header: ProgramHeader| matches!(header.p_type, abi::PT_INTERP | abi::PT_DYNAMIC);
    if elf.ehdr.e_type != abi::ET_EXEC || elf.segments().is_some_and(|headers| headers.iter().any(interpreted)) {
        return Err(ElfError::NotStaticExecutable);
    }
    Ok(())
}

fn check_segment<'a>(file: &'a [u8], header: &ProgramHeader, user: &Range<usize>) -> Result<Segment<'a>, ElfError> {
    let segment = header.p_vaddr;
    if header.p_filesz > header.p_memsz {
        return Err(ElfError::FileLargerThanMemory { segment });
    }
    if header.p_memsz > MAX_IMAGE_BYTES {
        return Err(ElfError::TooLarge);
    }
    let in_file = header.p_offset.checked_add(header.p_filesz).filter(|&end| end <= file.len() as u64);
    let end = in_file.ok_or(ElfError::Truncated { segment })?;
    let inside = |end: u64| segment >= user.start as u64 && end <= user.end as u64;
    segment.checked_add(header.p_memsz).filter(|&end| inside(end)).ok_or(ElfError::OutsideUserMemory { segment })?;
    let page = PAGE_SIZE as u64;
    let aligned = header.p_align.is_multiple_of(page) && header.p_align != 0;
    if !aligned || segment % page != header.p_offset % page {
        return Err(ElfError::Misaligned { segment });
    }
    let access = access(header.p_flags);
    if access.contains(Access::WRITE | Access::EXECUTE) {
        return Err(ElfError::WritableExecutable { segment });
    }
    let bytes = &file[header.p_offset as usize..end as usize];
    Ok(Segment { start: VirtualAddress(segment as usize), memory_size: header.p_memsz as usize, bytes, access })
}

/// Every mapped page is readable: no machine here has write-only or execute-only pages worth relying on.
fn access(flags: u32) -> Access {
    let mut access = Access::READ;
    access.set(Access::WRITE, flags & abi::PF_W != 0);
    access.set(Access::EXECUTE, flags & abi::PF_X != 0);
    access
}

fn overlap(a: &Segment<'_>, b: &Segment<'_>) -> bool {
    a.page_range().start < b.page_range().end && b.page_range().start < a.page_range().end
}

fn check_entry(image: &Image<'_>) -> Result<(), ElfError> {
    let holds_entry = |segment: &&Segment<'_>| {
        let start = segment.start.0;
        segment.access.contains(Access::EXECUTE) && (start..start + segment.memory_size).contains(&image.entry.0)
    };
    let entry = image.entry.0 as u64;
    image.segments().find(holds_entry).map(|_| ()).ok_or(ElfError::EntryNotExecutable { entry })
}

#[cfg(test)]
pub mod tests;
