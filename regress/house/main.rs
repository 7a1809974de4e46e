//! The house's own rules: which floor may name which, and where unsafe and cfg(target_os) may stand.
