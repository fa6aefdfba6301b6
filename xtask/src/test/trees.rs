//! Device trees that QEMU would never make: its own tree is taken, changed and put into memory beside the kernel, and a few
//! instructions of ours start the kernel with it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use qemu_targets::qemu::{Ending, Launch, Machine, Raw};

use super::boots::{SHORT, check_refusal, file, smoke_initrd};
use super::kernels::Kernels;
use super::runner::Step;
use crate::boot;
use crate::process;
use crate::workspace::Target;

/// Where things are put, in a board with RAM from 1 GiB on.
const KERNEL: u64 = 0x4020_0000;
const ENTRY: u64 = 0x4e00_0000;
const TREE: u64 = 0x4e10_0000;
const INITRD: u64 = 0x5000_0000;
const CPUS: u32 = 2;

/// What is done to the bytes of a tree.
type Change = fn(&mut DeviceTree) -> Result<()>;
type Damage = fn(&mut Vec<u8>);

/// A tree that the kernel must refuse, and a part of the line that it must print.
struct Refused {
    name: &'static str,
    expected: &'static str,
    change: Change,
    damage: Damage,
}

const REFUSED: [Refused; 6] = [
    Refused {
        name: "a device tree that is cut off",
        expected: "device tree: it is damaged",
        change: |_| Ok(()),
        damage: |bytes| bytes.truncate(bytes.len() / 2),
    },
    Refused {
        name: "a device tree that lies about its length",
        expected: "device tree: it says that it is",
        change: |_| Ok(()),
        damage: |bytes| bytes[4..8].fill(0x7f),
    },
    Refused {
        name: "no interrupt controller",
        expected: "device tree: it names neither a GICv2 nor a GICv3",
        change: |tree| remove(tree, "intc@8000000"),
        damage: |_| (),
    },
    Refused {
        name: "memory where there is none",
        expected: "which is memory by the device tree",
        change: |tree| set(tree, "/memory@40000000", "reg", &cells(&[0, 0x4000_0000, 0, 0x3000_0000])),
        damage: |_| (),
    },
    Refused {
        name: "no timer",
        expected: "device tree: it names no generic timer",
        change: |tree| remove(tree, "timer"),
        damage: |_| (),
    },
    Refused {
        name: "no PSCI",
        expected: "device tree: it names no PSCI",
        change: |tree| remove(tree, "psci"),
        damage: |_| (),
    },
];

/// A cut, a lie about itself, a lie about memory, something missing, and what is odd but good.
pub fn some(kernels: &Kernels) -> Vec<Step> {
    steps(kernels, &REFUSED[..4])
}

/// All steps of this kind.
pub fn all(kernels: &Kernels) -> Vec<Step> {
    steps(kernels, &REFUSED)
}

fn steps(kernels: &Kernels, refused: &'static [Refused]) -> Vec<Step> {
    let refused = refused.iter().map(|case| {
        let kernels = kernels.clone();
        Step::new(format!("refused on virt: {}", case.name), move || {
            let launch = launch(&kernels, case.name, case.change, case.damage)?;
            let (outcome, lines) = boot::collect(&launch, SHORT)?;
            check_refusal(&outcome, &lines, case.expected)
        })
    });
    let mut steps: Vec<Step> = refused.collect();
    let kernels = kernels.clone();
    steps.push(Step::new(
        "virt with a hole in memory, its second serial port and a CPU that does not start",
        move || {
            let mut launch = launch(&kernels, "odd board", odd_board, |_| ())?;
            launch.second_serial = true;
            let (outcome, lines) = boot::collect(&launch, SHORT)?;
            ensure!(outcome.ending == Ending::Success, "{}", outcome.report());
            let left_out = "left out because they did not start: CPUs 2";
            ensure!(
                lines.iter().any(|line| line.contains(left_out)),
                "no line says `{left_out}`: {}",
                outcome.report()
            );
            Ok(())
        },
    ));
    steps
}

/// 64 MiB are missing in the middle, output goes to the second port, and there is a CPU that the firmware does not know.
fn odd_board(tree: &mut DeviceTree) -> Result<()> {
    let memory = cells(&[0, 0x4000_0000, 0, 0x800_0000, 0, 0x4c00_0000, 0, 0x1400_0000]);
    set(tree, "/memory@40000000", "reg", &memory)?;
    set(tree, "/chosen", "stdout-path", b"/pl011@9040000\0")?;
    let cpus = tree.find_node_mut("/cpus").context("the tree has no /cpus")?;
    let mut absent = DeviceTreeNode::new("cpu@77")?;
    for (name, value) in [("device_type", &b"cpu\0"[..]), ("enable-method", b"psci\0"), ("reg", &cells(&[0x77]))] {
        absent.add_property(DeviceTreeProperty::new(name, value)?);
    }
    cpus.add_child(absent);
    Ok(())
}

/// A boot of the smoke target with QEMU's tree, changed and then damaged.
fn launch(kernels: &Kernels, name: &str, change: Change, damage: Damage) -> Result<Launch> {
    let artifacts = kernels.get(Target::Aarch64)?;
    let initrd = smoke_initrd(artifacts, None)?;
    let mut tree = emulators_tree(name)?;
    set(&mut tree, "/chosen", "linux,initrd-start", &INITRD.to_be_bytes())?;
    set(&mut tree, "/chosen", "linux,initrd-end", &(INITRD + initrd.len() as u64).to_be_bytes())?;
    change(&mut tree)?;
    let mut bytes = tree.to_dtb();
    damage(&mut bytes);
    let mut launch = Launch::new(Machine::Virt, artifacts.kernel.clone());
    launch.cpus = CPUS;
    let files = vec![
        (artifacts.kernel.clone(), KERNEL),
        (file(&format!("{name} entry"), &entry())?, ENTRY),
        (file(&format!("{name} tree"), &bytes)?, TREE),
        (file(&format!("{name} initrd"), &initrd)?, INITRD),
    ];
    launch.raw = Some(Raw { files, entry: ENTRY });
    Ok(launch)
}

/// `ldr x0, tree; ldr x1, kernel; br x1; nop`, then the two addresses.
fn entry() -> Vec<u8> {
    let code = [0x5800_0080_u32, 0x5800_00a1, 0xd61f_0020, 0xd503_201f];
    let words = [TREE, KERNEL].into_iter().flat_map(u64::to_le_bytes);
    code.into_iter().flat_map(u32::to_le_bytes).chain(words).collect()
}

/// The tree that QEMU gives to the board.
fn emulators_tree(name: &str) -> Result<DeviceTree> {
    let path = file(&format!("{name} emulator"), &[])?;
    let mut command = Command::new(Machine::Virt.emulator());
    let board = format!("virt,gic-version=3,dumpdtb={}", path.display());
    command.args(["-machine", &board, "-cpu", "max", "-m", "512", "-smp", &CPUS.to_string()]);
    command.args(["-nodefaults", "-display", "none", "-serial", "null", "-serial", "null"]);
    process::capture(&mut command)?;
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let tree = Fdt::new(&bytes).context("QEMU's device tree cannot be read")?;
    Ok(DeviceTree::from_fdt(&tree))
}

fn set(tree: &mut DeviceTree, path: &str, name: &str, value: &[u8]) -> Result<()> {
    let node = tree.find_node_mut(path).with_context(|| format!("the tree has no {path}"))?;
    node.remove_property(name);
    node.add_property(DeviceTreeProperty::new(name, value)?);
    Ok(())
}

fn remove(tree: &mut DeviceTree, name: &str) -> Result<()> {
    tree.root.remove_child(name).map(drop).with_context(|| format!("the tree has no {name}"))
}

fn cells(cells: &[u32]) -> Vec<u8> {
    cells.iter().flat_map(|cell| cell.to_be_bytes()).collect()
}
