//! Every libc call and unsafe block of the daemon.
