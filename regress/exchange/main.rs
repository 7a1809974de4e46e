//! Two engines on a pretend network with a pretend clock.
