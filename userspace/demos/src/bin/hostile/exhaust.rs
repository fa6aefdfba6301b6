//! The limits of memory and of capabilities. At each the answer is `overloaded`, what was granted stays, and what is given
//! back can be had again.

use crate::raw::{PAGE, READ_WRITE};
use alloc::vec::Vec;
use core::ptr;
use demos::Findings;
use tessera_rt::{
    CallError, Client, Timer,
    abi::limits::{DEFAULT_CAPABILITIES, ENDPOINTS, MAPPINGS},
    client::{CapabilityTable, Endpoint, EndpointFactory, MemoryFactory, VirtualMemory, copied},
    generated::messages::{AllocateParams, MintParams, NextCapabilityParams, RangeParams},
    message::ExceptionKind,
    ring,
};

/// Does something until it is refused; gives what came of it and the refusal. `None`: it was not refused `most` times.
fn until_refused<T>(
    most: usize,
    mut again: impl FnMut() -> Result<T, CallError>,
) -> Result<(Vec<T>, Option<CallError>), CallError> {
    let mut all = Vec::new();
    while all.len() <= most {
        match again() {
            Ok(one) => all.push(one),
            Err(error) => return Ok((all, Some(error))),
        }
    }
    Ok((all, None))
}

fn overloaded(findings: &mut Findings, what: &str, count: usize, refused: Option<CallError>) {
    let kind = refused.and_then(|error| error.exception());
    let good = count > 0 && kind == Some(ExceptionKind::Overloaded);
    findings.check(good, format_args!("after {count} {what} the answer was {refused:?}"));
}

/// Reads and writes the first word of a page.
fn word(address: u64) -> *mut u64 {
    ptr::with_exposed_provenance_mut(address as usize)
}

pub fn mappings(findings: &mut Findings) -> Result<(), CallError> {
    let memory = VirtualMemory::granted()?;
    let page = AllocateParams { bytes: PAGE, access: READ_WRITE };
    let mut first = None;
    let mut again = || {
        let address = memory.allocate(&page)?.address;
        if first.is_none() {
            first = Some(address);
            // SAFETY: the page was just mapped, and nobody else knows it.
            unsafe { word(address).write_volatile(0x600d) };
        }
        Ok(address)
    };
    let (all, refused) = until_refused(MAPPINGS, &mut again)?;
    overloaded(findings, "mappings", all.len(), refused);
    let Some(first) = first else { return Ok(()) };
    // SAFETY: the page is mapped still, as the check says.
    let kept = unsafe { word(first).read_volatile() };
    findings.equal("the first page's word", kept, 0x600d);
    memory.unmap(&RangeParams { address: first, bytes: PAGE })?;
    let again = memory.allocate(&page);
    findings.check(again.is_ok(), format_args!("a mapping after one was given back: {again:?}"));
    findings.excepted("the next one", memory.allocate(&page), ExceptionKind::Overloaded);
    Ok(())
}

pub fn endpoints(findings: &mut Findings) -> Result<(), CallError> {
    let factory = EndpointFactory::granted()?;
    let (all, refused) = until_refused(ENDPOINTS as usize, || factory.create())?;
    overloaded(findings, "endpoints", all.len(), refused);
    findings.equal("endpoints", all.len(), ENDPOINTS as usize);
    for [handle] in all.iter().take(3) {
        ring::current().release(*handle)?;
    }
    let (more, refused) = until_refused(ENDPOINTS as usize, || factory.create())?;
    overloaded(findings, "endpoints more", more.len(), refused);
    findings.equal("endpoints after three were given back", more.len(), 3);
    // Those that were granted serve still.
    if let Some([last]) = all.last() {
        Endpoint::from_handle(*last).mint(&MintParams { interface: 1, badge: 0 })?;
    }
    Ok(())
}

pub fn frames(findings: &mut Findings) -> Result<(), CallError> {
    let (objects, memory) = (MemoryFactory::granted()?, VirtualMemory::granted()?);
    let large = AllocateParams { bytes: 256 * PAGE, access: READ_WRITE };
    let (all, refused) = until_refused(1 << 12, || memory.allocate(&large))?;
    overloaded(findings, "allocations of 1 MiB", all.len(), refused);
    findings.excepted("an object of 1 MiB", objects.create(256 * PAGE), ExceptionKind::Overloaded);
    for mapped in &all {
        // SAFETY: the range was promised and is this function's alone: its use cannot fail.
        unsafe { word(mapped.address + 255 * PAGE).write_volatile(mapped.address) };
    }
    for mapped in &all {
        // SAFETY: as above.
        let kept = unsafe { word(mapped.address + 255 * PAGE).read_volatile() };
        findings.equal("a word of the last memory", kept, mapped.address);
        memory.unmap(&RangeParams { address: mapped.address, bytes: 256 * PAGE })?;
    }
    let (objects, refused) = until_refused(1 << 12, || objects.create(256 * PAGE))?;
    overloaded(findings, "objects of 1 MiB", objects.len(), refused);
    findings
        .check(objects.len() + 1 >= all.len(), format_args!("{} objects, {} allocations", objects.len(), all.len()));
    objects.iter().try_for_each(|[object]| ring::current().release(*object))?;
    let again = memory.allocate(&large);
    findings.check(again.is_ok(), format_args!("an allocation after all was given back: {again:?}"));
    Ok(())
}

pub fn slots(findings: &mut Findings) -> Result<(), CallError> {
    let (table, timer) = (CapabilityTable::granted()?, Timer::granted()?.handle());
    let held = held(&table)?;
    let [endpoint] = EndpointFactory::granted()?.create()?;
    let mint = || Endpoint::from_handle(endpoint).mint(&MintParams { interface: 1, badge: 0 });
    let (all, refused) = until_refused(DEFAULT_CAPABILITIES as usize, mint)?;
    let expected = DEFAULT_CAPABILITIES as usize - held - 1;
    findings.equal("capabilities until the table was full", all.len(), expected);
    refused_by_table(findings, "a capability more", refused);
    refused_by_table(findings, "two more", table.revocable(&[copied(timer)]).err());
    findings.equal("capabilities held", self::held(&table)?, DEFAULT_CAPABILITIES as usize);
    let now = Timer::granted()?.now();
    findings.check(now.is_ok(), format_args!("a full table's timer said {now:?}"));
    for [handle] in all.iter().take(2) {
        ring::current().release(*handle)?;
    }
    let both = table.revocable(&[copied(timer)]);
    findings.check(both.is_ok(), format_args!("two capabilities after two were given back: {both:?}"));
    Ok(())
}

/// A table without room is the caller's own: the transport says so.
fn refused_by_table(findings: &mut Findings, what: &str, error: Option<CallError>) {
    let expected = tessera_rt::abi::ring::TransportError::CapabilitiesRefused;
    let good = error.is_some_and(|error| error.is_transport(expected));
    findings.check(good, format_args!("{what} gave {error:?}, not {expected:?}"));
}

/// How many capabilities this process holds.
pub fn held(table: &CapabilityTable) -> Result<usize, CallError> {
    let (mut count, mut after) = (0, 0);
    loop {
        let record = table.next(&NextCapabilityParams { process_id: 0, after })?;
        if record.found == 0 {
            return Ok(count);
        }
        (count, after) = (count + 1, u64::from(record.slot) + 1);
    }
}
