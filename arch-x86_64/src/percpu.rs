//! The per-CPU area, reached through the GS base, which is valid on every kernel entry.
