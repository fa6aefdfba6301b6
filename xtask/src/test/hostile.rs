//! Program files and manifests that a kernel must refuse, made from good ones by changing a few bytes.

use anyhow::{Result, ensure};

/// Where the fields of an ELF64 file are (System V ABI, chapter 4 and 5).
mod field {
    pub const MACHINE: usize = 18;
    pub const PROGRAM_HEADERS: usize = 32;
    pub const PROGRAM_HEADER_COUNT: usize = 56;
    pub const PROGRAM_HEADER_SIZE: usize = 56;
    pub const FLAGS: usize = 4;
    pub const OFFSET: usize = 8;
    pub const ADDRESS: usize = 16;
    pub const MEMORY_SIZE: usize = 40;
}

const PT_LOAD: u32 = 1;
const PAGE: u64 = 4096;

/// What is wrong with the program file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Not an ELF file at all.
    Noise,
    /// Built for another architecture.
    ForeignMachine,
    /// A segment that may be written and executed.
    WritableExecutable,
    /// Two segments on one page.
    Overlapping,
    /// A segment of 4 GiB.
    Huge,
    /// A segment in the kernel's half.
    KernelRange,
    /// A segment behind the end of the file.
    Truncated,
}

impl Defect {
    /// Every defect with a part of the line that the kernel must print for it.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Noise, ": init"),
        (Self::ForeignMachine, "built for ELF machine 183"),
        (Self::WritableExecutable, "is writable and executable"),
        (Self::Overlapping, "overlaps an earlier one"),
        (Self::Huge, "the segments take more than"),
        (Self::KernelRange, "is outside user memory"),
        (Self::Truncated, "the file ends before segment"),
    ];

    /// The file with this defect.
    pub fn apply(self, file: &[u8]) -> Result<Vec<u8>> {
        let mut file = file.to_vec();
        let segments = loadable(&file)?;
        ensure!(segments.len() >= 2, "the program has {} loadable segments, two are needed", segments.len());
        let (first, last) = (segments[0], segments[segments.len() - 1]);
        let within_page = read(&file, last + field::ADDRESS) % PAGE;
        match self {
            Self::Noise => file = super::boots::noise(file.len()),
            Self::ForeignMachine => file[field::MACHINE..field::MACHINE + 2].copy_from_slice(&183_u16.to_le_bytes()),
            Self::WritableExecutable => file[first + field::FLAGS..][..4].copy_from_slice(&7_u32.to_le_bytes()),
            Self::Overlapping => {
                let page = read(&file, first + field::ADDRESS) / PAGE * PAGE;
                write(&mut file, last + field::ADDRESS, page + within_page);
            }
            Self::Huge => write(&mut file, last + field::MEMORY_SIZE, 4 << 30),
            Self::KernelRange => write(&mut file, last + field::ADDRESS, 0xffff_8000_0000_0000 + within_page),
            Self::Truncated => {
                let behind = (file.len() as u64).next_multiple_of(PAGE);
                write(&mut file, last + field::OFFSET, behind + within_page);
            }
        }
        Ok(file)
    }
}

fn read(file: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&file[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn write(file: &mut [u8], at: usize, value: u64) {
    file[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Where the headers of the loadable segments with bytes in the file are.
fn loadable(file: &[u8]) -> Result<Vec<usize>> {
    ensure!(file.len() >= 64 && file.starts_with(b"\x7fELF"), "the program is no ELF file");
    let table = read(file, field::PROGRAM_HEADERS) as usize;
    let count =
        usize::from(u16::from_le_bytes([file[field::PROGRAM_HEADER_COUNT], file[field::PROGRAM_HEADER_COUNT + 1]]));
    let headers: Vec<usize> = (0..count).map(|index| table + index * field::PROGRAM_HEADER_SIZE).collect();
    ensure!(
        headers.iter().all(|header| header + field::PROGRAM_HEADER_SIZE <= file.len()),
        "the program's headers are cut off"
    );
    let has_bytes = |header: &usize| file[*header..].starts_with(&PT_LOAD.to_le_bytes()) && read(file, header + 32) > 0;
    Ok(headers.into_iter().filter(has_bytes).collect())
}

/// A message that ends in its middle.
pub fn cut(message: &[u8]) -> Vec<u8> {
    message[..message.len() / 2].to_vec()
}

/// A message that announces four billion segments.
pub fn too_many_segments(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    message
}

/// A message whose root says that it lies far outside.
pub fn root_outside(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let segments = u32::from_le_bytes([message[0], message[1], message[2], message[3]]) as usize + 1;
    let root = (4 * (segments + 1)).next_multiple_of(8);
    // A struct pointer: offset in words in the upper 30 bits of the first half.
    message[root..root + 4].copy_from_slice(&(0x1fff_fff0_u32 << 2).to_le_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Vec<u8> {
        let mut file = vec![0; 0x3000];
        file[..4].copy_from_slice(b"\x7fELF");
        write(&mut file, field::PROGRAM_HEADERS, 64);
        file[field::PROGRAM_HEADER_COUNT] = 2;
        for (index, address) in [0x20_0000_u64, 0x20_1010].into_iter().enumerate() {
            let header = 64 + index * field::PROGRAM_HEADER_SIZE;
            file[header..header + 4].copy_from_slice(&PT_LOAD.to_le_bytes());
            write(&mut file, header + field::OFFSET, 0x1000 * (index as u64 + 1));
            write(&mut file, header + field::ADDRESS, address);
            write(&mut file, header + 32, 0x100);
            write(&mut file, header + field::MEMORY_SIZE, 0x100);
        }
        file
    }

    #[test]
    fn every_defect_changes_a_good_program() {
        for (defect, _) in Defect::ALL {
            assert_ne!(defect.apply(&program()).unwrap(), program(), "{defect:?}");
        }
    }

    #[test]
    fn an_overlap_keeps_the_place_within_the_page() {
        let file = Defect::Overlapping.apply(&program()).unwrap();
        let last = loadable(&file).unwrap()[1];
        assert_eq!(read(&file, last + field::ADDRESS), 0x20_0010);
    }

    #[test]
    fn the_root_is_found_behind_the_segment_table() {
        let mut message = vec![0; 32];
        message[4] = 3;
        let changed = root_outside(&message);
        assert_eq!(changed[..8], message[..8]);
        assert_ne!(changed[8..12], message[8..12]);
    }
}
