//! The kernel side: engine requests against scripted kernels.
