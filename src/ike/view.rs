//! What `oakctl show` prints: the engine's state as plain values, ages instead of times.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{KernelSelector, SaCounters};
use crate::conf::{Mode, PolicyName, SaProtocol};
use crate::crypto::{IkeSuite, Secret};

/// An IKE SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaView {
    /// The major version of the protocol.
    pub version: u8,
    /// Both SPIs, hexadecimal, initiator's first.
    pub spis: (String, String),
    /// The policy it was made by, once known.
    pub policy: Option<PolicyName>,
    /// Whether we initiated.
    pub initiator: bool,
    /// The state, in a word ("established", "awaiting IKE_AUTH response", …).
    pub state: String,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Our identity, printable.
    pub local_id: Option<String>,
    /// The peer's identity, printable.
    pub remote_id: Option<String>,
    /// Who logged in after phase 1 (XAUTH): the peer, or we.
    pub login: Option<String>,
    /// The addresses within the tunnel that one side gave the other.
    pub inner: Option<String>,
    /// The suite, printable ("ENCR_AES_GCM_16-256 PRF_HMAC_SHA2_256 Curve25519").
    pub suite: Option<String>,
    /// What the path is like, where there is something to tell: NATs, fragments, mobility.
    pub path: Vec<String>,
    /// How long it exists.
    pub age: Duration,
    /// Time until it is rekeyed.
    pub rekey_in: Option<Duration>,
    /// Its child SAs.
    pub children: Vec<ChildView>,
}

/// A child SA: a pair of SAs in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildView {
    /// ESP or AH.
    pub protocol: SaProtocol,
    /// Tunnel or transport.
    pub mode: Mode,
    /// SPI of packets we receive.
    pub spi_in: u32,
    /// SPI of packets we send.
    pub spi_out: u32,
    /// With IPComp, our CPI and the peer's.
    pub ipcomp: Option<(u16, u16)>,
    /// With AH around ESP, the SPI of packets we receive and of those we send.
    pub around: Option<(u32, u32)>,
    /// The suite, printable.
    pub suite: String,
    /// Whether it is UDP-encapsulated.
    pub udp_encap: bool,
    /// The state, in a word.
    pub state: String,
    /// Outbound flows.
    pub flows: Vec<KernelSelector>,
    /// How long it exists.
    pub age: Duration,
    /// Time until it is rekeyed.
    pub rekey_in: Option<Duration>,
    /// Counters, where they were asked for.
    pub counters: Option<(SaCounters, SaCounters)>,
}

/// The keys of an IKE SA, for whoever has to read what it protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IkeKeys {
    /// Of IKEv1: one key for both directions.
    V1 {
        /// The initiator's cookie, hexadecimal.
        cookie: String,
        /// The key of the cipher.
        key: Secret,
    },
    /// Of IKEv2.
    V2 {
        /// Both SPIs, hexadecimal, initiator's first.
        spis: (String, String),
        /// The algorithms.
        suite: IkeSuite,
        /// SK_ei (with the salt behind, where there is one) and SK_ai.
        from_initiator: (Secret, Secret),
        /// SK_er and SK_ar.
        from_responder: (Secret, Secret),
    },
}

/// Counters of the engine since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Datagrams taken.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Requests sent again.
    pub retransmits: u64,
    /// Duplicates answered from the cache.
    pub duplicates: u64,
    /// Datagrams dropped as malformed.
    pub malformed: u64,
    /// Datagrams dropped because protection did not verify.
    pub forged: u64,
    /// Fragments taken.
    pub fragments_in: u64,
    /// Fragments sent.
    pub fragments_out: u64,
    /// Cookies asked for.
    pub cookies: u64,
    /// IKE SAs half open.
    pub half_open: u64,
    /// IKE SAs established, ever.
    pub established: u64,
    /// Negotiations failed, ever.
    pub failed: u64,
    /// Child SAs installed, ever.
    pub children: u64,
    /// Child and IKE SAs rekeyed, ever.
    pub rekeys: u64,
}
