//! What init makes of manifests.
