//! Names for backtraces: fills the table that a kernel's image reserves (section `.symbols`) with its functions.
//!
//! The format is `hal/src/port/symbols.rs`'s. It is done after linking, because only then are the addresses known. A
//! kernel without the section is left as it is.

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::STT_FUNC;
use elf::endian::LittleEndian;

const MAGIC: &[u8; 8] = b"TESSYM01";
/// What the offsets count from.
const TEXT_START: &str = "__text_start";
/// Longer names are cut: some generic ones have thousands of characters.
const LONGEST_NAME: usize = 160;

/// Fills the table of the ELF file in place.
pub fn fill(file: &mut [u8]) -> Result<()> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).context("the kernel is no ELF file")?;
    let Some(section) = elf.section_header_by_name(".symbols").context("the kernel's sections are damaged")? else {
        return Ok(());
    };
    let (start, room) = (section.sh_offset as usize, section.sh_size as usize);
    let table = table(&functions(&elf)?)?;
    ensure!(table.len() <= room, "the names take {} bytes, section .symbols has {room}", table.len());
    let place = file.get_mut(start..start + table.len()).context("section .symbols is not in the file")?;
    place.copy_from_slice(&table);
    Ok(())
}

/// The functions as offsets from the start of the text, ascending, each address once.
fn functions(elf: &ElfBytes<'_, LittleEndian>) -> Result<Vec<(u32, String)>> {
    let (symbols, names) = elf.symbol_table()?.context("the kernel has no symbol table: was it stripped?")?;
    let name_of = |index: u32| names.get(index as usize).unwrap_or_default();
    let base = symbols.iter().find(|symbol| name_of(symbol.st_name) == TEXT_START);
    let base = base.with_context(|| format!("the kernel has no symbol {TEXT_START}"))?.st_value;
    let mut functions: Vec<_> = symbols
        .iter()
        .filter(|symbol| symbol.st_symtype() == STT_FUNC || is_assembly(name_of(symbol.st_name)))
        .filter_map(|symbol| {
            let offset = u32::try_from(symbol.st_value.checked_sub(base)?).ok()?;
            Some((offset, format!("{:#}", rustc_demangle::demangle(name_of(symbol.st_name)))))
        })
        .collect();
    functions.sort();
    functions.dedup_by_key(|(offset, _)| *offset);
    Ok(functions)
}

/// The entry points written in assembly have no type.
fn is_assembly(name: &str) -> bool {
    matches!(
        name,
        "trap_stubs"
            | "trap_common"
            | "trap_from_kernel"
            | "trap_anywhere"
            | "system_call_entry"
            | "enter_user"
            | "leave_user"
            | "exception_vectors"
            | "interrupt_kernel"
            | "fast_kernel"
            | "fatal_exception"
    )
}

fn table(functions: &[(u32, String)]) -> Result<Vec<u8>> {
    let mut names = Vec::new();
    let mut entries = Vec::new();
    for (offset, name) in functions {
        entries.extend(offset.to_le_bytes());
        entries.extend(u32::try_from(names.len())?.to_le_bytes());
        let name = &name[..name.floor_char_boundary(LONGEST_NAME)];
        names.extend(u16::try_from(name.len())?.to_le_bytes());
        names.extend(name.as_bytes());
    }
    let mut table = MAGIC.to_vec();
    table.extend(u32::try_from(functions.len())?.to_le_bytes());
    table.extend(u32::try_from(names.len())?.to_le_bytes());
    table.extend(entries);
    table.extend(names);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_bytes_that_the_kernel_reads() {
        let table = table(&[(0x10, "one".into()), (0x80, "me".into())]).unwrap();
        let mut expected = b"TESSYM01".to_vec();
        for word in [2u32, 9, 0x10, 0, 0x80, 5] {
            expected.extend(word.to_le_bytes());
        }
        expected.extend(b"\x03\x00one\x02\x00me");
        assert_eq!(table, expected);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let table = table(&[(0, "\u{e4}".repeat(LONGEST_NAME))]).unwrap();
        assert!(std::str::from_utf8(&table[26..]).is_ok());
        assert_eq!(table.len(), 26 + LONGEST_NAME);
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        assert!(fill(&mut [0; 100]).is_err());
    }
}
