//! Reading nodes and properties: every answer is `None` or nothing where the tree does not say it properly.

use super::Range;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use dtoolkit::{Node, Property, ToCellInt};
use tessera_hal::{IrqLine, PhysicalAddress};

/// The fields of a CPU's `reg` that MPIDR has too.
pub(super) const AFFINITY: u64 = 0xff_00ff_ffff;
/// In the first cell of an interrupt: one of all CPUs.
const SHARED: u32 = 0;
/// In the first cell of an interrupt: each CPU has its own.
pub(super) const PRIVATE: u32 = 1;

/// Whether one of these names is in the node's `compatible`.
pub(super) fn compatible(node: &FdtNode<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| node.is_compatible(name))
}

/// Whether the node's `status` leaves it to us.
pub(super) fn is_in_use(node: &FdtNode<'_>) -> bool {
    matches!(text(*node, "status"), None | Some("okay" | "ok"))
}

/// The first device with one of these names. Devices behind a bus that translates addresses are not looked for.
pub(super) fn device<'a>(tree: Fdt<'a>, names: &[&str]) -> Option<FdtNode<'a>> {
    tree.root().children().find(|node| compatible(node, names) && is_in_use(node))
}

/// A property that is text.
pub(super) fn text<'a>(node: FdtNode<'a>, name: &str) -> Option<&'a str> {
    node.property(name)?.value_as::<&str>().ok()
}

/// A property that is one cell.
pub(super) fn number(node: FdtNode<'_>, name: &str) -> Option<u32> {
    node.property(name)?.value_as::<u32>().ok()
}

/// A property that is one or two cells.
pub(super) fn address(node: FdtNode<'_>, name: &str) -> Option<u64> {
    let property = node.property(name)?;
    property.value_as::<u64>().ok().or_else(|| property.value_as::<u32>().ok().map(u64::from))
}

/// The node's `reg` as ranges. An entry that does not fit in 64 bits ends the list.
pub(super) fn ranges(node: FdtNode<'_>) -> impl Iterator<Item = Range> {
    let entries = node.reg().ok().flatten().into_iter().flatten();
    entries.map_while(|entry| Some((PhysicalAddress(entry.address().ok()?), entry.size().ok()?)))
}

/// The address of the first entry of `reg`, where entries have no size.
pub(super) fn first_cells(node: FdtNode<'_>) -> Option<u64> {
    node.reg().ok()??.next()?.address.to_int().ok()
}

/// Whether PSCI can start the CPU. `disabled` means that it waits to be started.
pub(super) fn is_startable(node: FdtNode<'_>) -> bool {
    let has_failed = text(node, "status").is_some_and(|status| status.starts_with("fail"));
    !has_failed && matches!(text(node, "enable-method"), None | Some("psci"))
}

/// The kind and number of the node's interrupt with this index; `cells` cells name one.
pub(super) fn interrupt(node: FdtNode<'_>, cells: usize, index: usize) -> Option<(u32, u32)> {
    let property = node.property("interrupts")?;
    let at = |cell: usize| {
        let bytes = property.value().get(cell * 4..cell * 4 + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    Some((at(index * cells)?, at(index * cells + 1)?))
}

/// The node's first interrupt, if it is one of all CPUs.
pub(super) fn shared_interrupt(node: FdtNode<'_>) -> Option<IrqLine> {
    // The kind and the number come first however many cells there are.
    let (kind, number) = interrupt(node, 3, 0)?;
    (kind == SHARED).then_some(IrqLine(number))
}
