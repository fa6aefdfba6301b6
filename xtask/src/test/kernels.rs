//! Kernels and programs, built once and shared by all steps.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};

use super::runner::Step;
use crate::build::{self, Artifacts, Noise};
use crate::toolchain::Toolchain;
use crate::workspace::Target;

/// What has been built so far.
#[derive(Clone)]
pub struct Kernels {
    toolchain: Toolchain,
    x86_64: Arc<OnceLock<Artifacts>>,
    aarch64: Arc<OnceLock<Artifacts>>,
}

impl Kernels {
    /// Nothing yet.
    pub fn new(toolchain: Toolchain) -> Self {
        Self { toolchain, x86_64: Arc::default(), aarch64: Arc::default() }
    }

    /// The artifacts for a target; builds them if the build step was not selected or has failed.
    pub fn get(&self, target: Target) -> Result<&Artifacts> {
        let place = match target {
            Target::X86_64 => &self.x86_64,
            Target::Aarch64 => &self.aarch64,
        };
        if place.get().is_none() {
            let artifacts = build::build(self.toolchain, target, Noise::Kept)?;
            // Two steps may build at once; cargo makes the results equal.
            let _ = place.set(artifacts);
        }
        place.get().context("the kernel was not built")
    }

    /// One step for each target.
    pub fn steps(&self) -> Vec<Step> {
        let step = |target: Target| {
            let kernels = self.clone();
            Step::new(format!("build for {}", target.triple()), move || kernels.get(target).map(drop))
        };
        Target::ALL.map(step).into()
    }
}
