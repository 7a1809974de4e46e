//! Engine requests to and from the kernel, by the pfkey crate.
