//! The kernel's capabilities that a manifest can grant.

use crate::generated::interfaces;

/// A capability of the kernel that a program can be granted at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Capability {
    /// Console.
    Console,
    /// Timer.
    Timer,
    /// SchedulingPolicyCap.
    SchedulingPolicy,
    /// ProcessSpawner.
    ProcessSpawner,
    /// ThreadSpawner.
    ThreadSpawner,
    /// ThreadControl.
    ThreadControl,
    /// ParkSpace.
    ParkSpace,
    /// MemoryFactory.
    MemoryFactory,
    /// VirtualMemory.
    VirtualMemory,
    /// EndpointFactory.
    EndpointFactory,
    /// CapabilityTable.
    CapabilityTable,
    /// SystemInspector.
    SystemInspector,
    /// SystemSupervisor.
    SystemSupervisor,
    /// Terminal.
    Terminal,
}

impl Capability {
    /// Every one, by its ordinal in the schema.
    pub const ALL: [Self; 14] = [
        Self::Console,
        Self::Timer,
        Self::SchedulingPolicy,
        Self::ProcessSpawner,
        Self::ThreadSpawner,
        Self::ThreadControl,
        Self::ParkSpace,
        Self::MemoryFactory,
        Self::VirtualMemory,
        Self::EndpointFactory,
        Self::CapabilityTable,
        Self::SystemInspector,
        Self::SystemSupervisor,
        Self::Terminal,
    ];

    /// The name in manifests, which is also the name of a grant of it that has no other.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Timer => "timer",
            Self::SchedulingPolicy => "scheduling-policy",
            Self::ProcessSpawner => "process-spawner",
            Self::ThreadSpawner => "thread-spawner",
            Self::ThreadControl => "thread-control",
            Self::ParkSpace => "park-space",
            Self::MemoryFactory => "memory-factory",
            Self::VirtualMemory => "virtual-memory",
            Self::EndpointFactory => "endpoint-factory",
            Self::CapabilityTable => "capability-table",
            Self::SystemInspector => "system-inspector",
            Self::SystemSupervisor => "system-supervisor",
            Self::Terminal => "terminal",
        }
    }

    /// The interface's id.
    pub const fn interface(self) -> u64 {
        match self {
            Self::Console => interfaces::console::ID,
            Self::Timer => interfaces::timer::ID,
            Self::SchedulingPolicy => interfaces::scheduling_policy_cap::ID,
            Self::ProcessSpawner => interfaces::process_spawner::ID,
            Self::ThreadSpawner => interfaces::thread_spawner::ID,
            Self::ThreadControl => interfaces::thread_control::ID,
            Self::ParkSpace => interfaces::park_space::ID,
            Self::MemoryFactory => interfaces::memory_factory::ID,
            Self::VirtualMemory => interfaces::virtual_memory::ID,
            Self::EndpointFactory => interfaces::endpoint_factory::ID,
            Self::CapabilityTable => interfaces::capability_table::ID,
            Self::SystemInspector => interfaces::system_inspector::ID,
            Self::SystemSupervisor => interfaces::system_supervisor::ID,
            Self::Terminal => interfaces::terminal::ID,
        }
    }

    /// The one with this ordinal.
    pub fn from_ordinal(ordinal: u16) -> Option<Self> {
        Self::ALL.get(usize::from(ordinal)).copied()
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_and_names_are_those_of_the_schema() {
        let schema = include_str!("../../manifest.capnp");
        for (ordinal, capability) in Capability::ALL.into_iter().enumerate() {
            let camel_case = |(index, word): (usize, &str)| match word.split_at(1) {
                (first, rest) if index > 0 => first.to_uppercase() + rest,
                _ => word.to_string(),
            };
            let name: String = capability.name().split('-').enumerate().map(camel_case).collect();
            assert!(schema.contains(&format!("\n  {name} @{ordinal};\n")), "{name} @{ordinal}");
            assert_eq!(capability as usize, ordinal);
            assert_eq!(Capability::named(capability.name()), Some(capability));
            let interface = interfaces::name(capability.interface()).unwrap().to_lowercase();
            assert!(interface.starts_with(&capability.name().replace('-', "")), "{interface}");
        }
        assert!(!schema.contains(&format!("@{};\n}}\n\nstruct Grant", Capability::ALL.len())));
    }
}
