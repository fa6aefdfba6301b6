//! A tree like QEMU's `virt` has, built node by node, and what is missing or wrong in copies of it.

use super::*;
use dtoolkit::model::{DeviceTree as Model, DeviceTreeNode, DeviceTreeProperty};
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec as List;

const BOOT: u64 = 0;

fn node(name: &str, properties: &[(&str, &[u8])]) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    for (name, value) in properties {
        node.add_property(DeviceTreeProperty::new(*name, *value).unwrap());
    }
    node
}

fn cells(cells: &[u32]) -> List<u8> {
    cells.iter().flat_map(|cell| cell.to_be_bytes()).collect()
}

/// Two CPUs, a GICv3 with two redistributor regions, 512 MiB.
fn virt() -> Model {
    let mut model = Model::new();
    let root = &mut model.root;
    for (name, value) in [("#address-cells", 2_u32), ("#size-cells", 2), ("interrupt-parent", 1)] {
        root.add_property(DeviceTreeProperty::new(name, value).unwrap());
    }
    let memory = cells(&[0, 0x4000_0000, 0, 0x2000_0000]);
    root.add_child(node("memory@40000000", &[("device_type", b"memory\0"), ("reg", &memory)]));
    let mut cpus = node("cpus", &[("#address-cells", &cells(&[1])), ("#size-cells", &cells(&[0]))]);
    for number in [0_u32, 1] {
        let name = std::format!("cpu@{number}");
        let reg = cells(&[number]);
        let properties: [(&str, &[u8]); 3] =
            [("device_type", b"cpu\0"), ("enable-method", b"psci\0"), ("reg", reg.as_slice())];
        cpus.add_child(node(&name, &properties));
    }
    root.add_child(cpus);
    root.add_child(node("psci", &[("compatible", b"arm,psci-1.0\0arm,psci-0.2\0"), ("method", b"hvc\0")]));
    let frames = cells(&[0, 0x800_0000, 0, 0x1_0000, 0, 0x80a_0000, 0, 0xf6_0000, 0x40, 0, 0, 0x400_0000]);
    let controller: [(&str, &[u8]); 4] = [
        ("compatible", b"arm,gic-v3\0"),
        ("#interrupt-cells", &cells(&[3])),
        ("#redistributor-regions", &cells(&[2])),
        ("reg", &frames),
    ];
    root.add_child(node("intc@8000000", &controller));
    let interrupts = cells(&[1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4]);
    root.add_child(node("timer", &[("compatible", b"arm,armv8-timer\0"), ("interrupts", &interrupts)]));
    let uart = cells(&[0, 0x900_0000, 0, 0x1000]);
    let line = cells(&[0, 1, 4]);
    let port: [(&str, &[u8]); 3] =
        [("compatible", b"arm,pl011\0arm,primecell\0"), ("reg", &uart), ("interrupts", &line)];
    root.add_child(node("pl011@9000000", &port));
    let chosen: [(&str, &[u8]); 4] = [
        ("bootargs", b"cpus=2\0"),
        ("stdout-path", b"/pl011@9000000\0"),
        ("linux,initrd-start", &cells(&[0x4400_0000])),
        ("linux,initrd-end", &cells(&[0x4400_1000])),
    ];
    root.add_child(node("chosen", &chosen));
    model
}

fn set(model: &mut Model, path: &str, name: &str, value: &[u8]) {
    let node = model.find_node_mut(path).unwrap();
    node.remove_property(name);
    node.add_property(DeviceTreeProperty::new(name, value).unwrap());
}

fn error(change: impl FnOnce(&mut Model)) -> TreeError {
    let mut model = virt();
    change(&mut model);
    read(&model.to_dtb(), BOOT).unwrap_err()
}

#[test]
fn everything_that_a_machine_needs_is_found() {
    let bytes = virt().to_dtb();
    let tree = read(&bytes, BOOT).unwrap();
    assert_eq!((tree.cpus.as_slice(), tree.cpus_left_out), (&[0, 1][..], 0));
    assert_eq!(tree.conduit, Conduit::Hypervisor);
    assert_eq!(tree.timer_interrupt, 27);
    assert_eq!(tree.serial, SerialPort { registers: (PhysicalAddress(0x900_0000), 0x1000), line: Some(IrqLine(1)) });
    assert_eq!(tree.command_line, "cpus=2");
    assert_eq!(tree.initrd, Some((PhysicalAddress(0x4400_0000), 0x1000)));
    let Controller::Three { distributor, redistributors } = tree.controller else { panic!("a GICv3") };
    assert_eq!(distributor, (PhysicalAddress(0x800_0000), 0x1_0000));
    assert_eq!(redistributors[1], (PhysicalAddress(0x40_0000_0000), 0x400_0000));
}

#[test]
fn the_boot_cpu_is_the_first_and_cpus_that_cannot_be_started_are_counted() {
    let mut model = virt();
    set(&mut model, "/cpus/cpu@0", "enable-method", b"spin-table\0");
    let bytes = model.to_dtb();
    let tree = read(&bytes, 1).unwrap();
    assert_eq!((tree.cpus.as_slice(), tree.cpus_left_out), (&[1][..], 1));
    assert_eq!(read(&virt().to_dtb(), 1).unwrap().cpus.as_slice(), [1, 0]);
}

#[test]
fn a_version_two_controller_has_a_cpu_interface() {
    let mut model = virt();
    set(&mut model, "/intc@8000000", "compatible", b"arm,cortex-a15-gic\0");
    let bytes = model.to_dtb();
    let expected = Controller::Two {
        distributor: (PhysicalAddress(0x800_0000), 0x1_0000),
        cpu_interface: (PhysicalAddress(0x80a_0000), 0xf6_0000),
    };
    assert_eq!(read(&bytes, BOOT).unwrap().controller, expected);
}

#[test]
fn memory_may_have_holes_and_reserved_parts_are_not_free() {
    let mut model = virt();
    let reg = cells(&[0, 0x4000_0000, 0, 0x1000_0000, 0, 0x8000_0000, 0, 0x1000_0000]);
    set(&mut model, "/memory@40000000", "reg", &reg);
    let space: [(&str, &[u8]); 2] = [("#address-cells", &cells(&[2])), ("#size-cells", &cells(&[2]))];
    let mut reserved = node("reserved-memory", &space);
    reserved.add_child(node("log@48000000", &[("reg", &cells(&[0, 0x4800_0000, 0, 0x1000]))]));
    let secret = cells(&[0, 0x8000_0000, 0, 0x2000]);
    reserved.add_child(node("secret@80000000", &[("reg", &secret), ("no-map", b"")]));
    model.root.add_child(reserved);
    let bytes = model.to_dtb();
    let tree = read(&bytes, BOOT).unwrap();
    let ranges = |regions: &Regions<MAX_REGIONS>| {
        regions.as_slice().iter().map(|region| (region.start.start().0, region.frames)).collect::<List<_>>()
    };
    assert_eq!(ranges(&tree.ram), [(0x4000_0000, 0x1_0000), (0x8000_2000, 0xfffe)]);
    assert_eq!(ranges(&tree.free), [(0x4000_0000, 0x8000), (0x4800_1000, 0x7fff), (0x8000_2000, 0xfffe)]);
}

#[test]
fn the_serial_port_is_the_one_that_the_tree_names_for_output() {
    let mut model = virt();
    let reg = cells(&[0, 0x904_0000, 0, 0x1000]);
    model.root.add_child(node("pl011@9040000", &[("compatible", b"arm,pl011\0"), ("reg", &reg)]));
    set(&mut model, "/chosen", "stdout-path", b"serial1:115200n8\0");
    model.root.add_child(node("aliases", &[("serial1", b"/pl011@9040000\0")]));
    assert_eq!(serial(&model.to_dtb()).unwrap().registers.0, PhysicalAddress(0x904_0000));
    set(&mut model, "/chosen", "stdout-path", b"/nothing\0");
    assert_eq!(serial(&model.to_dtb()).unwrap().registers.0, PhysicalAddress(0x900_0000), "the first one");
    set(&mut model, "/pl011@9000000", "status", b"disabled\0");
    assert_eq!(serial(&model.to_dtb()).unwrap().registers.0, PhysicalAddress(0x904_0000), "not ours");
}

#[test]
fn each_thing_that_is_missing_is_named() {
    let without = |name: &'static str| error(move |model| drop(model.root.remove_child(name)));
    assert_eq!(without("memory@40000000"), TreeError::NoMemory);
    assert_eq!(without("cpus"), TreeError::NoCpus);
    assert_eq!(without("psci"), TreeError::NoPsci);
    assert_eq!(without("intc@8000000"), TreeError::NoInterruptController);
    assert_eq!(without("timer"), TreeError::NoTimer);
    assert_eq!(without("pl011@9000000"), TreeError::NoSerialPort);
    let bytes = virt().to_dtb();
    assert_eq!(read(&bytes, 7).unwrap_err(), TreeError::BootCpuMissing(7));
}

#[test]
fn each_thing_that_makes_no_sense_is_named() {
    let with = |path: &'static str, name: &'static str, value: &[u8]| error(|model| set(model, path, name, value));
    assert_eq!(with("/psci", "method", b"call\0"), TreeError::BadConduit);
    assert_eq!(with("/timer", "interrupts", &cells(&[1, 13, 4])), TreeError::BadTimerInterrupt);
    assert_eq!(with("/timer", "interrupts", &cells(&[0; 12])), TreeError::BadTimerInterrupt);
    assert_eq!(with("/intc@8000000", "#interrupt-cells", &cells(&[1])), TreeError::BadInterruptCells(1));
    let controller = TreeError::BadRegisters("interrupt controller");
    assert_eq!(with("/intc@8000000", "reg", &cells(&[0, 0x800_0000, 0, 0x1_0000])), controller);
    assert_eq!(with("/intc@8000000", "reg", &cells(&[u32::MAX; 12])), controller);
    assert_eq!(with("/intc@8000000", "#redistributor-regions", &cells(&[u32::MAX])), controller);
    assert_eq!(with("/pl011@9000000", "reg", &cells(&[0; 4])), TreeError::BadRegisters("serial port"));
    assert_eq!(with("/chosen", "bootargs", b"\xff\0"), TreeError::BadCommandLine);
    assert_eq!(with("/chosen", "linux,initrd-end", &cells(&[0x4300_0000])), TreeError::BadInitrd);
    assert_eq!(with("/chosen", "linux,initrd-end", b"x"), TreeError::BadInitrd);
    assert_eq!(with("/memory@40000000", "reg", &cells(&[0, 0, 0, 0])), TreeError::NoMemory);
}

#[test]
fn memory_that_no_machine_has_is_left_out() {
    let mut model = virt();
    let reg = cells(&[0, 0x4000_0000, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX]);
    set(&mut model, "/memory@40000000", "reg", &reg);
    let bytes = model.to_dtb();
    let tree = read(&bytes, BOOT).unwrap();
    let last = tree.ram.as_slice().last().unwrap();
    assert_eq!(last.start.start().0 + last.frames * 4096, RAM_END);
}

#[test]
fn every_cut_of_a_tree_is_refused_as_damaged() {
    let bytes = virt().to_dtb();
    for length in 0..bytes.len() {
        let refused = read(&bytes[..length], BOOT);
        assert!(matches!(refused, Err(TreeError::Damaged(_))), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn every_error_is_one_line_that_says_where() {
    let errors = [error(|model| drop(model.root.remove_child("timer"))), TreeError::TooLong(7)];
    for text in errors.map(|error| error.to_string()) {
        assert!(text.starts_with("device tree: ") && !text.contains('\n'), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes, BOOT);
        let _ = serial(&bytes);
    }

    /// A good tree with bytes changed: deep enough to reach every reader.
    #[test]
    fn damage_never_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = virt().to_dtb();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read(&bytes, BOOT);
        let _ = serial(&bytes);
    }

    /// The structure is whole and the values are anything, so that no check of the whole tree stops them.
    #[test]
    fn strange_values_never_panic(
        place in any::<prop::sample::Index>(),
        value in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        const PROPERTIES: [(&str, &str); 18] = [
            ("/", "#address-cells"), ("/", "#size-cells"), ("/memory@40000000", "reg"), ("/cpus", "#address-cells"),
            ("/cpus", "#size-cells"), ("/cpus/cpu@0", "reg"), ("/cpus/cpu@1", "reg"), ("/cpus/cpu@1", "status"),
            ("/psci", "method"), ("/intc@8000000", "reg"), ("/intc@8000000", "#interrupt-cells"),
            ("/intc@8000000", "#redistributor-regions"), ("/timer", "interrupts"), ("/pl011@9000000", "reg"),
            ("/pl011@9000000", "interrupts"), ("/chosen", "stdout-path"), ("/chosen", "bootargs"),
            ("/chosen", "linux,initrd-start"),
        ];
        let (path, name) = PROPERTIES[place.index(PROPERTIES.len())];
        let mut model = virt();
        set(&mut model, path, name, &value);
        let bytes = model.to_dtb();
        if let Ok(tree) = read(&bytes, BOOT) {
            let highest = tree.ram.as_slice().iter().map(|region| region.start.start().0 + region.frames * 4096).max();
            prop_assert!(highest.is_some_and(|end| end <= RAM_END));
            prop_assert!((16..32).contains(&tree.timer_interrupt));
        }
        let _ = serial(&bytes);
    }
}
