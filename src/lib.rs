//! oakd, an Internet Key Exchange daemon.
//!
//! Floors, from the bottom; arrows go down only:
//!
//! ```text
//! floor 3   proc  net  kernel  log     processes, sockets, mio loops: all I/O
//!           ipsecctl  issuer           a kernel by hand, a certification authority: for oakctl
//!           show  capture              what oakctl prints, and writes for Wireshark
//! floor 2   pki                        keys and certificates: answers to the questions of `ike`
//! floor 2   ike                        the protocol, sans-IO: values in, values out
//! floor 1   wire  crypto  conf         octets <-> values; keys; configuration values
//! floor 0   sys (and the pfkey crate)  the libc room; kernel dialects
//! ```

pub mod capture;
pub mod conf;
pub mod crypto;
pub mod ike;
pub mod ipsecctl;
pub mod issuer;
pub mod kernel;
pub mod log;
pub mod net;
pub mod pki;
pub mod proc;
pub mod show;
pub mod sys;
pub mod wire;
