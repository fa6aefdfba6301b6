//! A kernel ELF file as the flat image that aarch64 loaders start: segments at their physical distances, header first.
//!
//! Loaders pass the device tree and the initrd only to an `Image`, which they know by the four bytes `ARM\x64` at
//! offset 56 (Linux, `Documentation/arch/arm64/booting.rst`).

use anyhow::{Context, Result, bail, ensure};
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;

const MAGIC: &[u8] = b"ARM\x64";
const MAGIC_OFFSET: usize = 56;

/// No kernel of ours comes near this; a wrong physical address would.
const LARGEST_IMAGE: u64 = 64 << 20;

/// Turns the ELF file into its flat image.
pub fn flatten(file: &[u8]) -> Result<Vec<u8>> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).context("the kernel is no ELF file")?;
    let segments: Vec<_> = elf
        .segments()
        .context("the kernel has no segments")?
        .iter()
        .filter(|s| s.p_type == PT_LOAD && s.p_filesz > 0)
        .collect();
    let Some(start) = segments.iter().map(|segment| segment.p_paddr).min() else {
        bail!("the kernel has no loadable segment")
    };
    let mut image = Vec::new();
    for segment in segments {
        let data = elf.segment_data(&segment).context("a segment of the kernel is truncated")?;
        let offset = segment.p_paddr - start;
        ensure!(
            offset.checked_add(segment.p_filesz).is_some_and(|end| end <= LARGEST_IMAGE),
            "a segment of the kernel lies {offset:#x} bytes behind its first"
        );
        let (begin, end) = (offset as usize, offset as usize + data.len());
        if image.len() < end {
            image.resize(end, 0);
        }
        image[begin..end].copy_from_slice(data);
    }
    let magic = image.get(MAGIC_OFFSET..MAGIC_OFFSET + MAGIC.len());
    ensure!(magic == Some(MAGIC), "the kernel's first segment does not begin with an Image header");
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with these segments: physical address and bytes.
    fn elf(segments: &[(u64, &[u8])]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for half in [2_u16, 183] {
            file.extend(half.to_le_bytes());
        }
        file.extend(1_u32.to_le_bytes());
        for word in [0_u64, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0_u32.to_le_bytes());
        for half in [64, 56, segments.len() as u16, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut offset = 64 + 56 * segments.len() as u64;
        for (address, data) in segments {
            file.extend(PT_LOAD.to_le_bytes());
            file.extend(5_u32.to_le_bytes());
            for word in [offset, *address, *address, data.len() as u64, data.len() as u64, 4096] {
                file.extend(word.to_le_bytes());
            }
            offset += data.len() as u64;
        }
        segments.iter().for_each(|(_, data)| file.extend_from_slice(data));
        file
    }

    fn header() -> [u8; 64] {
        let mut header = [0; 64];
        header[MAGIC_OFFSET..MAGIC_OFFSET + 4].copy_from_slice(MAGIC);
        header
    }

    #[test]
    fn segments_keep_their_physical_distances() {
        let image = flatten(&elf(&[(0x4020_0000, &header()), (0x4020_0050, b"data")])).unwrap();
        assert_eq!(image.len(), 0x54);
        assert_eq!(&image[0x40..0x50], &[0; 16]);
        assert_eq!(&image[0x50..], b"data");
    }

    #[test]
    fn a_kernel_without_the_header_is_refused() {
        let error = flatten(&elf(&[(0x4020_0000, &[0; 64])])).unwrap_err().to_string();
        assert!(error.contains("Image header"), "{error}");
    }

    #[test]
    fn a_segment_at_a_virtual_distance_is_refused() {
        assert!(flatten(&elf(&[(0x4020_0000, &header()), (0xffff_8000_0000_0000, b"x")])).is_err());
    }
}
