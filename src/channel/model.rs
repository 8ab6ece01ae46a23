//! The turn and the bell under loom.
