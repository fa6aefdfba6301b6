//! What to boot, and the QEMU command line for it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::accelerator::Accelerator;

/// A machine that QEMU emulates and a platform binary exists for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The x86_64 PC with ICH9.
    Q35,
    /// The aarch64 board without real hardware behind it.
    Virt,
}

impl Machine {
    /// The emulator's program name.
    pub const fn emulator(self) -> &'static str {
        match self {
            Self::Q35 => "qemu-system-x86_64",
            Self::Virt => "qemu-system-aarch64",
        }
    }

    /// The architecture as Rust names it.
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::Q35 => "x86_64",
            Self::Virt => "aarch64",
        }
    }

    /// The status with which QEMU ends when the guest reports success.
    pub const fn success_status(self) -> i32 {
        match self {
            // isa-debug-exit turns the value 0x10 into 2 * 0x10 + 1.
            Self::Q35 => 33,
            Self::Virt => 0,
        }
    }

    /// The status with which QEMU ends when the guest reports a failure.
    pub const fn failure_status(self) -> i32 {
        match self {
            Self::Q35 => 35,
            Self::Virt => 1,
        }
    }
}

/// The interrupt controller of the aarch64 board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gic {
    /// GICv2: eight CPUs at most.
    Two,
    /// GICv3.
    #[default]
    Three,
}

impl Gic {
    /// The number of the version.
    pub const fn version(self) -> u8 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// The most CPUs that QEMU gives a board with it.
    pub const fn most_cpus(self) -> u16 {
        match self {
            Self::Two => 8,
            Self::Three => 512,
        }
    }
}

/// Where the guest's serial line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serial {
    /// At the harness.
    Harness,
    /// At the terminal of a person, who reaches the emulator itself with ^A.
    Terminal,
}

impl Serial {
    const fn device(self) -> &'static str {
        match self {
            Self::Harness => "stdio",
            Self::Terminal => "mon:stdio",
        }
    }
}

/// What stands in memory where no loader of QEMU's has put it: the guest begins at `entry` with empty registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Files and the addresses of their first bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// The first instruction.
    pub entry: u64,
}

/// Above this a host may refuse to set memory aside.
const LARGE_MEMORY_MIB: u32 = 4096;

/// One boot of one kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The machine.
    pub machine: Machine,
    /// The kernel file.
    pub kernel: PathBuf,
    /// The manifest with the programs inside.
    pub initrd: Option<PathBuf>,
    /// The kernel's own options, `key=value` separated by spaces.
    pub options: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// How instructions are executed.
    pub accelerator: Accelerator,
    /// QEMU's CPU model with its feature switches; `None` takes the accelerator's best one.
    pub cpu_model: Option<String>,
    /// Where the serial line ends.
    pub serial: Serial,
    /// Bytes typed on the serial line once the guest has said something, as fast as it takes them.
    pub input: Vec<u8>,
    /// The interrupt controller, on the aarch64 board.
    pub gic: Gic,
    /// Whether the aarch64 board has virtualisation, so that the guest begins at EL2.
    pub virtualization: bool,
    /// Whether the serial line that people see is the board's second one.
    pub second_serial: bool,
    /// What is booted in place of the kernel file and the initrd.
    pub raw: Option<Raw>,
}

impl Launch {
    /// A boot with 4 CPUs, 512 MiB and TCG.
    pub fn new(machine: Machine, kernel: PathBuf) -> Self {
        Self {
            machine,
            kernel,
            initrd: None,
            options: String::new(),
            cpus: 4,
            memory_mib: 512,
            accelerator: Accelerator::Tcg,
            cpu_model: None,
            serial: Serial::Harness,
            input: Vec::new(),
            gic: Gic::default(),
            virtualization: false,
            second_serial: false,
            raw: None,
        }
    }

    /// The emulator's arguments.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot"]);
        if self.second_serial {
            add(&["-serial", "null"]);
        }
        add(&["-serial", self.serial.device()]);
        match self.machine {
            Machine::Q35 => add(&["-machine", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]),
            Machine::Virt => {
                let virtualization = if self.virtualization { "on" } else { "off" };
                let board = format!("virt,gic-version={},virtualization={virtualization}", self.gic.version());
                add(&["-machine", &board, "-semihosting-config", "enable=on,target=native"]);
            }
        }
        add(self.accelerator.arguments(self.cpus));
        add(&["-cpu", self.cpu_model.as_deref().unwrap_or(self.accelerator.cpu_model(self.machine))]);
        add(&["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        if self.memory_mib > LARGE_MEMORY_MIB {
            // The guest touches little of it; the host need not have it all.
            let backend = format!("memory-backend-ram,id=ram,size={}M,reserve=off", self.memory_mib);
            add(&["-object", &backend, "-machine", "memory-backend=ram"]);
        }
        if let Some(raw) = &self.raw {
            for (file, address) in &raw.files {
                let file = file.display();
                add(&["-device", &format!("loader,file={file},addr={address:#x},force-raw=on")]);
            }
            add(&["-device", &format!("loader,addr={:#x},cpu-num=0", raw.entry)]);
            return arguments;
        }
        if !self.options.is_empty() {
            add(&["-append", &self.options]);
        }
        arguments.extend(["-kernel".into(), self.kernel.clone().into_os_string()]);
        if let Some(initrd) = &self.initrd {
            arguments.extend(["-initrd".into(), initrd.clone().into_os_string()]);
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(launch: &Launch) -> String {
        launch.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_pc_ends_through_its_debug_port_and_runs_all_cpus_in_parallel() {
        let mut launch = Launch::new(Machine::Q35, "q35".into());
        launch.initrd = Some("image".into());
        launch.options = "seconds=3".into();
        let line = line(&launch);
        for part in [
            "-machine q35",
            "isa-debug-exit,iobase=0xf4",
            "-accel tcg,thread=multi",
            "-cpu max ",
            "-smp 4",
            "-append seconds=3",
            "-initrd image",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn very_many_cpus_take_turns_on_one_host_thread() {
        let mut launch = Launch::new(Machine::Q35, "q35".into());
        for (cpus, thread) in [(64, "multi"), (65, "single"), (288, "single")] {
            launch.cpus = cpus;
            assert!(line(&launch).contains(&format!("-accel tcg,thread={thread} ")), "{cpus}: {}", line(&launch));
        }
    }

    #[test]
    fn exact_counting_has_no_x2apic_on_a_pc() {
        let mut launch = Launch::new(Machine::Q35, "q35".into());
        launch.accelerator = Accelerator::Counted;
        let line = line(&launch);
        assert!(line.contains("-accel tcg,thread=single -icount shift=0,sleep=off"), "{line}");
        assert!(line.contains("-cpu max,-x2apic") && line.contains("-rtc base=2026-01-01,clock=vm"), "{line}");
    }

    #[test]
    fn a_chosen_cpu_model_wins() {
        let mut launch = Launch::new(Machine::Q35, "q35".into());
        launch.cpu_model = Some("qemu64".into());
        assert!(line(&launch).contains("-cpu qemu64"));
    }

    #[test]
    fn large_memory_is_not_reserved_on_the_host() {
        let mut launch = Launch::new(Machine::Q35, "q35".into());
        assert!(!line(&launch).contains("memory-backend"));
        launch.memory_mib = 32 << 10;
        assert!(line(&launch).contains("size=32768M,reserve=off -machine memory-backend=ram"), "{}", line(&launch));
    }

    #[test]
    fn the_arm_board_has_a_redistributor_per_cpu_and_reports_its_status() {
        let mut launch = Launch::new(Machine::Virt, "virt".into());
        let three = line(&launch);
        assert!(three.contains("-machine virt,gic-version=3,virtualization=off"), "{three}");
        assert!(three.contains("-semihosting-config enable=on"), "{three}");
        (launch.gic, launch.virtualization) = (Gic::Two, true);
        assert!(line(&launch).contains("-machine virt,gic-version=2,virtualization=on"));
    }

    #[test]
    fn raw_memory_takes_the_place_of_kernel_and_initrd() {
        let mut launch = Launch::new(Machine::Virt, "virt".into());
        launch.initrd = Some("image".into());
        launch.raw = Some(Raw { files: vec![("tree".into(), 0x4a00_0000)], entry: 0x4800_0000 });
        launch.second_serial = true;
        let line = line(&launch);
        assert!(
            line.ends_with("loader,file=tree,addr=0x4a000000,force-raw=on -device loader,addr=0x48000000,cpu-num=0")
        );
        assert!(!line.contains("-kernel") && !line.contains("-initrd"), "{line}");
        assert!(line.contains("-serial null -serial stdio"), "{line}");
    }
}
