//! Tests of the table walk on tables made here, true and false ones.

use super::*;
extern crate std;
use std::{rc::Rc, vec, vec::Vec};

const BASE: u64 = 0x7f00_0000;

/// Memory with tables at known places, filled in by the tests.
#[derive(Clone)]
struct Memory(Rc<Vec<u8>>);

impl PhysicalMemory for Memory {
    fn map(&self, start: PhysicalAddress, length: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(start.0.checked_sub(BASE)?).ok()?;
        let bytes = self.0.get(offset..offset.checked_add(length)?)?;
        NonNull::new(bytes.as_ptr().cast_mut())
    }
}

fn fix_sum(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0_u8, |sum, &byte| sum.wrapping_sub(byte));
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 36];
    bytes[..4].copy_from_slice(signature);
    bytes[4..8].copy_from_slice(&(36 + body.len() as u32).to_le_bytes());
    bytes[8] = 3;
    bytes.extend(body);
    fix_sum(&mut bytes, 9);
    bytes
}

fn madt_body() -> Vec<u8> {
    let mut body = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    body.extend([0, 8, 0, 3, 1, 0, 0, 0]);
    body.extend([0, 8, 1, 5, 1, 0, 0, 0]);
    body
}

fn hpet_body() -> Vec<u8> {
    let mut body = vec![0; 20];
    body[8..16].copy_from_slice(&0xfed0_0000_u64.to_le_bytes());
    body
}

fn fadt_body() -> Vec<u8> {
    let mut body = vec![0; 240];
    body[76 - 36..80 - 36].copy_from_slice(&0x608_u32.to_le_bytes());
    body[91 - 36] = 4;
    body[112 - 36..116 - 36].copy_from_slice(&(1_u32 << 8).to_le_bytes());
    body
}

/// RSDP at 0, XSDT at 0x100, tables from 0x200 on, 0x400 apart.
fn memory(tables: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; 0x4000];
    let mut rsdp = b"RSD PTR \0TESSRA\x02".to_vec();
    rsdp.extend([0; 4]);
    rsdp.extend(36_u32.to_le_bytes());
    rsdp.extend((BASE + 0x100).to_le_bytes());
    rsdp.extend([0; 4]);
    fix_sum(&mut rsdp[..20], 8);
    fix_sum(&mut rsdp, 32);
    bytes[..36].copy_from_slice(&rsdp);
    let mut pointers = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let at = 0x200 + index * 0x400;
        bytes[at..at + table.len()].copy_from_slice(table);
        pointers.extend((BASE + at as u64).to_le_bytes());
    }
    let root = self::table(b"XSDT", &pointers);
    bytes[0x100..0x100 + root.len()].copy_from_slice(&root);
    bytes
}

fn read(bytes: Vec<u8>) -> Result<Tables, TablesError> {
    discover(Memory(Rc::new(bytes)), PhysicalAddress(BASE), ApicId(5))
}

fn good() -> Vec<Vec<u8>> {
    vec![table(b"FACP", &fadt_body()), table(b"APIC", &madt_body()), table(b"HPET", &hpet_body())]
}

#[test]
fn cpus_controllers_and_clocks_are_found() {
    let tables = read(memory(&good())).unwrap();
    assert_eq!(tables.madt.cpus, [ApicId(5), ApicId(3)], "the boot CPU comes first");
    assert_eq!(tables.hpet, Some(PhysicalAddress(0xfed0_0000)));
    assert_eq!(tables.pm_timer, Some(PmTimerPort { port: 0x608, wide: true }));
}

#[test]
fn a_machine_without_reference_clocks_has_none() {
    let tables = read(memory(&[table(b"APIC", &madt_body())])).unwrap();
    assert_eq!((tables.hpet, tables.pm_timer), (None, None));
}

#[test]
fn a_wrong_sum_makes_a_table_missing() {
    let mut bytes = memory(&good());
    bytes[0x600 + 40] ^= 1;
    assert_eq!(read(bytes).unwrap_err(), TablesError::NoMadt);
}

#[test]
fn lengths_and_addresses_that_lie_are_refused_not_followed() {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = memory(&good());
        change(&mut bytes);
        read(bytes).unwrap_err()
    };
    let short = with(&|bytes| bytes[0x104..0x108].copy_from_slice(&8_u32.to_le_bytes()));
    assert_eq!(short, TablesError::BadRootTable);
    let huge = with(&|bytes| bytes[0x104..0x108].copy_from_slice(&u32::MAX.to_le_bytes()));
    assert_eq!(huge, TablesError::BadRootTable);
    let rsdp = with(&|bytes| bytes[20..24].copy_from_slice(&u32::MAX.to_le_bytes()));
    assert_eq!(rsdp, TablesError::BadRsdp(PhysicalAddress(BASE)));
    let madt = with(&|bytes| bytes[0x604..0x608].copy_from_slice(&35_u32.to_le_bytes()));
    assert_eq!(madt, TablesError::NoMadt);
    let nowhere = discover(Memory(Rc::new(memory(&good()))), PhysicalAddress(0), ApicId(5)).unwrap_err();
    assert_eq!(nowhere, TablesError::BadRsdp(PhysicalAddress(0)));
}

#[test]
fn a_boot_cpu_that_is_not_listed_is_an_error() {
    let result = discover(Memory(Rc::new(memory(&good()))), PhysicalAddress(BASE), ApicId(9));
    assert_eq!(result.unwrap_err(), TablesError::Madt(MadtError::BootCpuMissing(ApicId(9))));
}
