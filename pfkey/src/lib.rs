//! PF_KEY v2 for OpenBSD, FreeBSD, NetBSD and Linux.
